"""A dataset's contact sheet and buttons as a person sees them, in a real browser."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from bot.demo.clips import write_dataset
from bot.hosting.bot import RunningBot
from bot.sandbox.server import SandboxServer
from tests.wire.bot.newcomer import Newcomer
from tests.wire.browser import CHROMIUM, open_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")

SHOWN = "Contact sheet: 3 images and 2 clips, with captions."


async def test_the_contact_sheet_and_the_buttons_show(
    server: SandboxServer, bot: RunningBot, tmp_path: Path
) -> None:
    archive = write_dataset(tmp_path / "annika.zip")
    async with open_page(server.page_url) as page:
        await page.emulate_media(color_scheme="dark")
        newcomer = Newcomer(page, tmp_path)
        await newcomer.write("/dataset check")
        await newcomer.drop(archive)
        await page.get_by_role("form").get_by_role("button", name="Run").click()
        message = newcomer.log.get_by_role("article").filter(has_text="annika: checked")
        sheet = message.locator(".embed-picture img")
        await expect(sheet).to_be_visible()
        await expect(sheet).to_have_js_property("complete", value=True)
        assert await sheet.evaluate("image => image.naturalWidth") > 900
        await expect(sheet).to_have_attribute("alt", SHOWN)
        await newcomer.look("sandbox-dataset")

        await message.get_by_role("button", name="Use as repaired").click()

        stored = newcomer.log.get_by_role("article").filter(has_text="Version 1 of annika")
        for name in ("Keep original", "Captions", "Remove"):
            await expect(stored.get_by_role("button", name=name)).to_be_visible()
        await stored.locator(".embed-picture img").scroll_into_view_if_needed()
        await newcomer.look("dataset-stored")
        await stored.get_by_role("button", name="Captions").click()
        link = newcomer.log.get_by_role("link", name="annika-1-captions.csv")
        assert (await newcomer.download(link.first)).read_bytes().startswith(b"\xef\xbb\xbffile,")
