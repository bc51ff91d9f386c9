"""The page in a real browser: what a newcomer does in the first minutes."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import discord
import pytest
from playwright.async_api import Page, expect
from sandbox_bot import TinyBot, running_bot

from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer
from tests.media import mp4, png
from tests.wire.browser import CHROMIUM, open_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")


@pytest.fixture
async def page(server: SandboxServer) -> AsyncIterator[Page]:
    async with open_page(server.page_url, is_quiet=True) as page:
        yield page


async def run(page: Page, text: str) -> None:
    await page.get_by_role("combobox", name="Message").fill(text)
    await page.keyboard.press("Enter")


async def test_a_person_trains_with_the_keyboard_and_cancels(
    bot: TinyBot, page: Page, ada: SandboxUser
) -> None:
    await run(page, "/train")
    await page.keyboard.press("Tab")  # takes the first model offered
    await page.keyboard.type("set-07")
    # Until the list answers what was typed, its first suggestion is another one.
    await expect(page.get_by_role("option", name="set-00")).to_be_hidden()
    await expect(page.get_by_role("option", name="set-07")).to_be_visible()
    await page.keyboard.press("Enter")  # takes the suggestion
    await page.keyboard.press("Enter")  # runs the command

    log = page.get_by_role("log")
    await expect(log.get_by_text("wan22 on set-07")).to_be_visible()
    await log.get_by_role("button", name="Cancel").click()
    await expect(log.get_by_text("run1 cancelled")).to_be_visible()
    assert (await ada.messages())[0].content == "run1 cancelled"


async def test_a_file_is_dropped_into_a_command_and_the_answer_is_downloaded(
    bot: TinyBot, page: Page, tmp_path: Path
) -> None:
    await run(page, "/dataset add")
    await page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["abc"], "clips.txt"));
            const init = { dataTransfer: data, bubbles: true };
            document.querySelector("#log").dispatchEvent(new DragEvent("drop", init));
        }"""
    )
    await expect(page.get_by_text("clips.txt")).to_be_visible()
    await page.get_by_role("button", name="Run").click()

    log = page.get_by_role("log")
    await expect(log.get_by_text("clips.txt 3")).to_be_visible()
    async with page.expect_download() as download:
        await log.get_by_role("link", name=re.compile("back.txt")).click()
    assert (await (await download.value).path()).read_bytes() == b"cba"


async def test_a_dialog_with_files_is_filled_in(bot: TinyBot, page: Page, tmp_path: Path) -> None:
    file = tmp_path / "set.zip"
    file.write_bytes(b"12345")
    await run(page, "/dataset new")
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")

    await dialog.get_by_label("Name").fill("fox")
    await dialog.get_by_label("Kind").select_option("Clips")
    async with page.expect_file_chooser() as chooser:
        await dialog.get_by_role("button", name="Choose a file").click()
    await (await chooser.value).set_files(file)
    await dialog.get_by_role("button", name="Submit").click()

    await expect(page.get_by_role("log").get_by_text("fox clips [5]")).to_be_visible()
    await expect(dialog).to_be_hidden()


async def test_what_is_ephemeral_is_marked_and_hidden_from_others(bot: TinyBot, page: Page) -> None:
    await run(page, "/whisper")
    await page.keyboard.press("Enter")
    log = page.get_by_role("log")
    await expect(log.get_by_text("psst")).to_be_visible()
    await expect(log.get_by_text("Only you can see this")).to_be_visible()

    await page.get_by_label("You are").select_option("Ben")

    await expect(log.get_by_text("psst")).to_be_hidden()


async def test_a_message_command_a_thread_and_a_reload(bot: TinyBot, page: Page) -> None:
    await run(page, "my clips")
    log = page.get_by_role("log")
    await log.get_by_text("my clips").hover()
    await log.get_by_label("Commands for this message").first.click()
    await log.get_by_role("menuitem", name="Use as dataset").click()
    await expect(log.get_by_text("my clips: []")).to_be_visible()

    await run(page, "/thread")
    await page.keyboard.press("Enter")
    await log.get_by_role("button", name=re.compile("Open thread")).click()
    await expect(log.get_by_text("hello @Ada")).to_be_visible()
    await page.reload()

    await expect(log.get_by_text("hello @Ada")).to_be_visible()


async def test_a_thread_is_started_on_a_message_and_written_in(
    bot: TinyBot, page: Page, ada: SandboxUser
) -> None:
    log = page.get_by_role("log")
    await run(page, "my **clips**")
    await log.get_by_text("my clips").hover()
    await log.get_by_label("Commands for this message").click()
    await log.get_by_role("menuitem", name="Start a thread").click()
    await expect(page.get_by_label("Name")).to_have_value("my clips")
    await page.get_by_role("button", name="Start").click()

    await expect(page.get_by_role("heading", name="my clips")).to_be_visible()
    await expect(log.get_by_role("button", name="Open thread")).to_have_count(0)
    await expect(log.get_by_text("my clips")).to_be_visible()  # what the thread hangs on
    await run(page, "inside")
    await expect(log.get_by_text("inside")).to_be_visible()
    assert [m.content for m in await ada.messages(thread="my clips")] == ["inside"]
    await page.get_by_role("button", name="Thread in #training").click()
    await expect(log.get_by_role("button", name="Open thread")).to_be_visible()
    await expect(log.get_by_text("inside")).to_be_hidden()


async def test_a_mention_is_offered_typed_and_reaches_the_person(
    page: Page, ben: SandboxUser
) -> None:
    box = page.get_by_role("combobox", name="Message")
    await expect(box).to_be_enabled()
    await box.press_sequentially("hello @b")
    await expect(page.get_by_role("option", name="@Ben")).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(box).to_have_value("hello @Ben ")
    await page.keyboard.type("and @lora-team")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Enter")

    log = page.get_by_role("log")
    await expect(log.get_by_text("hello @Ben and @lora-team")).to_be_visible()
    assert (await ben.messages())[0].mentions == ["Ben"]
    await page.get_by_label("You are").select_option("Ben")
    await expect(log.locator(".for-me")).to_have_count(1)


async def test_a_deleted_channel_or_thread_is_left(
    page: Page, server: SandboxServer, ada: SandboxUser
) -> None:
    message = await ada.post("hello")
    thread = await ada.open_thread(message, "talk")
    await page.get_by_role("button", name="talk").first.click()
    await expect(page.get_by_placeholder("Message talk")).to_be_visible()

    server.faults.delete_channel(thread)
    await expect(page.get_by_placeholder("Message #training")).to_be_visible()
    await expect(page.get_by_role("log").get_by_text("hello")).to_be_visible()
    server.faults.delete_channel(message.channel_id)

    await expect(page.get_by_label("Workspace")).to_have_value(
        next(g["id"] for g in server.world.guilds.values() if g["name"] == "Studio B")
    )
    await expect(page.get_by_role("log").get_by_text("Nothing here yet")).to_be_visible()


async def test_a_select_in_use_survives_the_edits_of_its_card(
    bot: TinyBot, page: Page, server: SandboxServer
) -> None:
    channel = next(one for one in bot.get_all_channels() if isinstance(one, discord.TextChannel))
    options = [discord.SelectOption(label=f"epoch {n}", value=f"{n}") for n in (10, 20)]
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Select(custom_id="epoch", placeholder="Which?", options=options))
    card = await channel.send("step 1", view=view)
    select = page.get_by_label("Which?")
    await select.focus()

    await card.edit(content="step 2")

    await expect(select).to_be_focused()
    await page.get_by_role("combobox", name="Message").focus()
    await expect(page.get_by_role("log").get_by_text("step 2")).to_be_visible()


async def test_a_command_nobody_answers_says_so(server: SandboxServer, page: Page) -> None:
    async with running_bot(server):
        await run(page, "/ping")
    await expect(page.get_by_role("form", name="/ping")).to_be_visible()

    await page.get_by_role("button", name="Run").click()

    await expect(page.get_by_text("The application did not respond")).to_be_visible()


async def test_the_page_returns_after_the_sandbox_was_restarted(tmp_path: Path) -> None:
    first = SandboxServer(tmp_path / "home")
    await first.start()
    async with open_page(first.page_url) as page:
        await run(page, "before")
        await expect(page.get_by_role("log").get_by_text("before")).to_be_visible()
        await first.stop()
        await expect(page.get_by_role("status")).to_contain_text("Connection lost")

        second = SandboxServer(tmp_path / "home", page_secret=first.secret)
        await second.start(first.port)

        await expect(page.get_by_role("status")).to_be_empty()
        await run(page, "after")
        await expect(page.get_by_role("log").get_by_text("after")).to_be_visible()
    await second.stop()


async def test_pictures_and_clips_are_shown_and_play(
    bot: TinyBot, page: Page, ada: SandboxUser, tmp_path: Path
) -> None:
    still, clip = tmp_path / "still.png", tmp_path / "clip.mp4"
    still.write_bytes(png(64, 48))
    clip.write_bytes(mp4(17, width=96, height=64))

    await ada.post("look", [still, clip])

    log = page.get_by_role("log")
    picture = log.get_by_role("img", name="still.png")
    video = log.get_by_label("clip.mp4")
    await expect(picture).to_have_js_property("naturalWidth", 64)
    await expect(video).to_have_js_property("videoWidth", 96)
    await video.evaluate("video => { video.muted = true; return video.play(); }")
    await expect(video).to_have_js_property("ended", True)
