"""A newcomer's first ten minutes with the real bot, in a real browser."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from bot.demo.clips import write_dataset
from bot.hosting.bot import RunningBot
from bot.sandbox.server import SandboxServer
from tests.wire.bot.newcomer import Newcomer
from tests.wire.bot.processes import SLOW
from tests.wire.browser import CHROMIUM, open_page
from training.files.safetensors_header import read_header

RUN = "annika-wan22-i2v-lightning"
SECOND = "second-try"
OPEN_THREAD = re.compile(rf"{RUN}\s*Open thread")
Restart = Callable[[], Awaitable[SandboxServer]]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")


@pytest.fixture
async def restart(server: SandboxServer, tmp_path: Path) -> AsyncIterator[Restart]:
    """Restart the sandbox with the same home, port and secret."""
    started: list[SandboxServer] = []

    async def again() -> SandboxServer:
        await server.stop()
        other = SandboxServer(tmp_path / "sandbox", page_secret=server.secret)
        await other.start(server.port)
        started.append(other)
        return other

    yield again
    for other in started:
        await other.stop()
        assert other.rest.mistakes == []


@pytest.fixture
async def page(server: SandboxServer, bot: RunningBot) -> AsyncIterator[Page]:
    async with open_page(server.page_url) as page:
        yield page


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_newcomers_first_ten_minutes(
    restart: Restart,
    page: Page,
    bot: RunningBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = write_dataset(tmp_path / "annika.zip")
    monkeypatch.setattr(bot.client, "before_identify_hook", no_wait)
    monkeypatch.setenv(SLOW, "0.05")  # both experts are then seen while they train
    newcomer = Newcomer(page, tmp_path)

    await add_dataset(newcomer, archive)
    await train(newcomer)
    file = await download(newcomer)
    assert len(read_header(file).tensors) == 60
    await cancel_a_second_run(newcomer)
    await talk_in_a_thread(newcomer)
    await reload(newcomer)
    await restart()
    await go_on_after_the_restart(newcomer)
    await look_as_somebody_else(newcomer)
    await look_in_the_dark_and_on_a_phone(newcomer)


async def no_wait(shard_id: int | None, *, initial: bool = False) -> None:
    """Replace the library's five seconds before a second IDENTIFY."""


async def add_dataset(newcomer: Newcomer, archive: Path) -> None:
    await newcomer.write("/dataset add")
    await newcomer.page.keyboard.type("annika")
    await newcomer.drop(archive)
    await expect(newcomer.page.get_by_text("annika.zip")).to_be_visible()
    await newcomer.look("dataset-add")
    await newcomer.page.get_by_role("button", name="Run").click()
    await expect(newcomer.log.get_by_text("annika@1", exact=True)).to_be_visible()
    await newcomer.look("dataset-added")


async def train(newcomer: Newcomer) -> None:
    await newcomer.write("/train")
    await expect(newcomer.page.get_by_role("option", name="wan22-i2v-lightning")).to_be_attached()
    await newcomer.look("train")
    await newcomer.page.keyboard.press("Escape")
    await newcomer.page.keyboard.press("Escape")
    await newcomer.command("train", "wan22-i2v-lightning", "annika")
    card = newcomer.card(RUN)
    await expect(card.get_by_role("button", name="Cancel")).to_be_visible()
    stepping = re.compile(r"step [1-9]\d*/\d+.*step [1-9]\d*/\d+", re.DOTALL)
    await expect(card).to_contain_text(stepping)
    await newcomer.look("card-running")
    await expect(newcomer.log.get_by_text(f"{RUN}: succeeded").first).to_be_visible(timeout=90_000)
    await expect(newcomer.log.get_by_text("succeeded: ")).to_be_visible()
    await newcomer.look("card-succeeded")


async def download(newcomer: Newcomer) -> Path:
    await newcomer.command("download", RUN)
    link = newcomer.log.get_by_role("link", name=f"{RUN}-low.safetensors").last
    await expect(link).to_be_visible()
    await newcomer.look("download")
    return await newcomer.download(link)


async def cancel_a_second_run(newcomer: Newcomer) -> None:
    options = f"name:{SECOND} epochs:1000"
    await newcomer.command("train", "wan21-t2v-1-3b", "annika", options=options)
    await newcomer.log.get_by_role("button", name="Start", exact=True).click()  # so many epochs
    card = newcomer.card(SECOND)
    await expect(card).to_contain_text(re.compile(r"step [1-9]"))
    await card.get_by_role("button", name="Cancel").click()
    await expect(newcomer.log.get_by_text(f"{SECOND} (a rehearsal) was cancelled")).to_be_visible()
    await expect(card).to_contain_text(f"{SECOND}: cancelled")
    await expect(card.get_by_role("button", name="Resume")).to_be_visible()
    await expect(card.get_by_role("button", name="Cancel")).to_be_hidden()


async def talk_in_a_thread(newcomer: Newcomer) -> None:
    page, log = newcomer.page, newcomer.log
    await newcomer.log.get_by_role("button", name=OPEN_THREAD).first.click()
    await expect(page.get_by_role("heading", name=RUN, exact=True, level=1)).to_be_visible()
    for text in ("Merged, high-noise expert", "Saved: ", "Succeeded"):
        await expect(log.get_by_text(text).first).to_be_attached()
    await newcomer.write("Epoch 30 keeps the room best. @Ben, will you try it in **ComfyUI**?")
    await expect(log.get_by_text("@Ben", exact=True)).to_be_visible()
    await newcomer.look("sandbox-thread")
    await status(newcomer)


async def status(newcomer: Newcomer) -> None:
    await newcomer.write("/status")
    await newcomer.page.get_by_role("button", name="Run").click()
    await expect(newcomer.log.get_by_text(f"{SECOND}: cancelled")).to_be_visible()


async def reload(newcomer: Newcomer) -> None:
    await newcomer.page.reload()
    await expect(newcomer.log.get_by_text("Epoch 30 keeps the room best")).to_be_visible()
    await newcomer.page.get_by_role("button", name="Thread in #training").click()
    await expect_all_is_there(newcomer)


async def expect_all_is_there(newcomer: Newcomer) -> None:
    for text in ("annika@1", f"{RUN}: succeeded", f"{SECOND}: cancelled", "succeeded: "):
        await expect(newcomer.log.get_by_text(text).first).to_be_attached()
    await expect(newcomer.log.get_by_role("button", name=OPEN_THREAD).first).to_be_attached()


async def go_on_after_the_restart(newcomer: Newcomer) -> None:
    await expect(newcomer.page.get_by_role("status")).to_be_empty()
    await expect_all_is_there(newcomer)
    await newcomer.write("/runs")
    run = newcomer.page.get_by_role("button", name="Run")
    answer = newcomer.log.get_by_text("2 runs")
    # The bot returns some seconds after the page; until then commands are not answered.
    while not await answer.is_visible():
        if await newcomer.page.get_by_role("form", name="/runs").count() == 0:
            await newcomer.write("/runs")
        await run.click()
        silence = newcomer.page.get_by_role("alert").filter(has_text="did not respond").last
        await expect(answer.or_(silence)).to_be_visible()
        if await silence.is_visible():
            await silence.get_by_role("button", name="Dismiss").click()


async def look_as_somebody_else(newcomer: Newcomer) -> None:
    page, log = newcomer.page, newcomer.log
    await page.get_by_label("You are").select_option("Ben")
    await expect(page.get_by_placeholder("as Ben")).to_be_visible()
    await expect(log.get_by_text("Only you can see this")).to_have_count(0)
    await log.get_by_role("button", name=OPEN_THREAD).first.click()
    await expect(log.locator(".for-me").get_by_text("@Ben")).to_be_visible()
    await newcomer.write("On it.")
    await expect(log.get_by_text("On it.")).to_be_visible()


async def look_in_the_dark_and_on_a_phone(newcomer: Newcomer) -> None:
    page = newcomer.page
    await page.emulate_media(color_scheme="dark")
    await page.get_by_role("button", name="Thread in #training").click()
    await expect_all_is_there(newcomer)
    await newcomer.look("sandbox-dark")
    await page.set_viewport_size({"width": 390, "height": 780})
    await page.emulate_media(color_scheme="light")
    await page.reload()
    await expect_all_is_there(newcomer)
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    await newcomer.look("sandbox-phone")
    await page.get_by_role("button", name="Show channels").click()
    await page.get_by_role("button", name=RUN).first.click()
    await expect(page.get_by_role("heading", name=RUN, exact=True, level=1)).to_be_visible()
