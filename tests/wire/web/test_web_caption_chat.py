"""A zip without captions, from chat to the caption page and back, on every host."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from bot.service.threads import in_thread
from tests.media import write_zip
from tests.wire.bot.chat import Chat
from tests.wire.bot.stored import captions, press, versions
from tests.wire.browser import CHROMIUM, open_page
from tests.wire.web.caption_side import BARE, is_open
from tests.wire.web.site import Site

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")


async def test_missing_captions_are_written_on_the_page_and_announced_in_the_channel(
    ada: Chat, site: Site, tmp_path: Path
) -> None:
    archive = write_zip(tmp_path / "annika.zip", BARE)
    kept = await ada.ask("dataset add", name="annika", zip=archive, trigger="ann1ka")
    answer = await press(ada, kept, "Captions")
    url = str(answer.buttons["Open caption page"]["url"])

    async with open_page(url) as page:
        await is_open(page)
        stored = await ada.user.wait_for(
            lambda m: not m.ephemeral and m.title == "annika@1" and "Captions" in m.buttons
        )
        listed = await ada.ask("dataset list")
        refused = await ada.refused("train", dataset="annika", model="wan21-t2v-1-3b")
        await page.keyboard.press("Alt+KeyN")
        await page.keyboard.type("ann1ka in the garden")
        await site.restart()
        await page.keyboard.press("Control+KeyS")
        await expect(page.get_by_role("alert")).to_be_hidden()
        await is_open(page, "annika@2")

    told = await ada.user.wait_for(lambda m: "From annika@1 to annika@2" in m.text)
    compared = await ada.ask("dataset diff", old="annika@1", new="annika@2")
    assert answer.ephemeral
    assert [one.filename for one in answer.attachments] == ["annika-captions.csv"]
    assert "1 of 4 samples lacks a caption: not trainable yet" in stored.text
    assert {"Leave these out", "Trigger word only", "Captions"} <= set(stored.buttons)
    assert "Train" not in stored.buttons
    assert "annika@1** · 3 images and 1 clip" in listed.text
    assert "1 of 4 samples lacks a caption: not trainable yet" in listed.text
    assert "/dataset captions name:annika@1" in refused
    for text in (told.text, compared.text):
        assert "images/c.png (written):  → ann1ka in the garden" in text
    assert [v.without_caption for v in await in_thread(versions, site.installation)] == [1, 0]
    made = await in_thread(captions, site.installation, "annika@2")
    assert made["images/c.png"] == "ann1ka in the garden"


async def test_a_stored_version_without_captions_is_settled_in_chat(
    ada: Chat, site: Site, tmp_path: Path
) -> None:
    archive = write_zip(tmp_path / "bea.zip", BARE)
    await ada.ask("dataset add", name="bea", zip=archive, trigger="ann1ka")
    asked = await ada.ask("dataset captions", name="bea")
    async with open_page(str(asked.buttons["Open caption page"]["url"])) as page:
        await is_open(page, "bea@1")
    shown = await ada.ask("dataset show", name="bea")

    left = await press(ada, shown, "Leave these out")
    question = await press(ada, shown, "Trigger word only")
    filled = await press(ada, question, "Yes, the trigger word only")

    assert "1 sample left out" in left.text
    assert "1 sample captioned with the trigger word" in filled.text
    assert "not trainable" not in left.text + filled.text
