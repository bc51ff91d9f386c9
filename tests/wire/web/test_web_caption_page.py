"""The caption page in a real browser: writing, reviewing, and saving beside other people."""

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from bot.service.threads import in_thread
from tests.media import jpeg, write_zip
from tests.unit.bot.web.upload_side import local_uploads
from tests.wire.bot.upload_page import drop
from tests.wire.browser import CHROMIUM, open_page
from tests.wire.web.caption_side import BARE, CAPTIONED, CaptionSide, is_open
from tests.wire.web.pictures import look
from training.registry.proposals import Proposal, Proposals

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")

_MANY = 500
_ROWS_TOUCHED = """() => {
    window.touched = new Set();
    new MutationObserver((all) => {
        for (const one of all) touched.add((one.target.closest?.("li") ?? one.target).textContent);
    }).observe(document.getElementById("list"), { childList: true, subtree: true });
}"""


@pytest_asyncio.fixture
async def side(tmp_path: Path) -> AsyncGenerator[CaptionSide]:
    async with local_uploads(tmp_path / "home") as found:
        yield CaptionSide(found, tmp_path)


async def opened(page: Page, name: str) -> None:
    """Open a sample with a click."""
    await page.locator("#list button").filter(has_text=name).click()
    await expect(page.get_by_role("heading", name=name)).to_be_visible()


async def test_captions_are_reviewed_with_the_keyboard_alone(side: CaptionSide) -> None:
    await side.add(BARE)

    async with open_page((await side.link()).url, is_quiet=True) as page:
        await is_open(page)
        keys, caption = page.keyboard, page.get_by_label("Caption", exact=True)
        await keys.press("Alt+KeyN")
        await expect(page.get_by_role("heading", name="c.png")).to_be_visible()
        await keys.type("ann1ka in the garden")
        await expect(page.locator("#tokens")).to_have_text("about 5 of 512 tokens (estimate)")
        await expect(page.locator("#marked mark")).to_have_text("ann1ka")
        await keys.press("Control+KeyZ")
        await expect(caption).to_have_value("")
        await keys.press("Control+Shift+KeyZ")
        await keys.press("Alt+ArrowDown")
        await keys.press("Alt+KeyP")
        await expect(page.locator("video")).to_have_js_property("paused", value=False)
        await keys.press("Alt+KeyP")
        await expect(page.locator("video")).to_have_js_property("paused", value=True)
        await keys.press("Control+KeyS")
        await is_open(page, "annika@2")
        await expect(page.get_by_text("Saved as annika@2.")).to_be_visible()

    assert side.captions()["images/c.png"] == "ann1ka in the garden"


async def test_the_upload_page_leads_to_the_caption_page(side: CaptionSide, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "bare.zip", BARE)

    async with open_page((await side.side.link()).url) as page:
        await drop(page, archive)
        await page.get_by_role("button", name="Captions").click()
        link = page.get_by_role("link", name="Open caption page")
        async with page.context.expect_page() as opening:
            await link.click()
        opened_page = await opening.value
        await is_open(opened_page)

    version = side.side.installation.datasets.find(side.guild, "annika")
    assert version.without_caption == 1


async def test_two_people_at_once_lose_nothing(side: CaptionSide, tmp_path: Path) -> None:
    await side.add(CAPTIONED)
    async with (
        open_page((await side.link()).url) as ada,
        open_page((await side.link()).url) as ben,
    ):
        for page in (ada, ben):
            await is_open(page)
        await opened(ada, "a.png")
        await ada.get_by_label("Caption", exact=True).fill("ann1ka, by Ada")
        await opened(ada, "c.png")
        await ada.get_by_label("Caption", exact=True).fill("ann1ka in the park, by Ada")
        await opened(ben, "b.png")
        await ben.get_by_label("Caption", exact=True).fill("ann1ka, by Ben")
        await opened(ben, "a.png")
        await ben.get_by_label("Caption", exact=True).fill("ann1ka at a window, by Ben")
        await ada.get_by_role("button", name="Save 2 changes").click()
        await is_open(ada, "annika@2")

        await is_open(ben, "annika@2")  # within seconds, by itself
        await expect(ben.locator("#list")).to_contain_text("ann1ka in the park, by Ada")
        await expect(ben.locator("#conflict")).to_contain_text("ann1ka, by Ada")
        await look(ben, "captions-conflict", tmp_path)
        await ben.get_by_role("button", name="Save 1 change").click()
        await is_open(ben, "annika@3")
        await ben.get_by_role("button", name="Keep mine").click()
        await ben.get_by_role("button", name="Save 1 change").click()
        await is_open(ben, "annika@4")
        await is_open(ada, "annika@4")
        await opened(ada, "a.png")
        await expect(ada.get_by_label("Caption", exact=True)).to_have_value(
            "ann1ka at a window, by Ben"
        )

    assert side.captions() == {
        "images/a.png": "ann1ka at a window, by Ben",
        "images/b.png": "ann1ka, by Ben",
        "images/c.png": "ann1ka in the park, by Ada",
        "videos/d.mp4": "ann1ka walks past the camera",
    }


async def test_many_captions_are_changed_and_unsaved_changes_survive_a_reload(
    side: CaptionSide, tmp_path: Path
) -> None:
    await side.add(CAPTIONED)

    async with open_page((await side.link()).url) as page:
        await is_open(page)
        await page.get_by_role("button", name="Replace…").click()
        await page.get_by_role("textbox", name="Find").fill("ann1ka")
        await expect(page.get_by_text("3 places in 3 captions")).to_be_visible()
        await page.get_by_label("Replace with").fill("annika")
        await look(page, "captions-replace", tmp_path)
        await page.get_by_role("button", name="Replace in 3 captions").click()
        await expect(page.locator("#list")).to_contain_text("annika at a window")
        await page.get_by_role("button", name="Undo").click()
        await expect(page.locator("#list")).to_contain_text("ann1ka at a window")
        await page.get_by_role("button", name="Put ann1ka in front (1)").click()
        await page.get_by_role("button", name="Change 1 caption").click()
        await expect(page.locator("#list")).to_contain_text("ann1ka, a portrait in soft light")
        page.on("dialog", lambda dialog: dialog.accept())  # asks before the page is left
        await page.reload()
        await expect(
            page.get_by_text("1 unsaved change from your last visit is back")
        ).to_be_visible()
        await page.get_by_role("button", name="Save 1 change").click()
        await is_open(page, "annika@2")

    assert side.captions()["images/b.png"] == "ann1ka, a portrait in soft light"


async def test_proposals_wait_for_a_persons_word(side: CaptionSide, tmp_path: Path) -> None:
    bare = {name: content for name, content in CAPTIONED.items() if not name.endswith(".txt")}
    version = await side.add(bare)
    installation = side.side.installation
    proposals = Proposals(installation.runtime.store, installation.runtime.leases)
    samples = installation.datasets.report(side.guild, version).samples
    proposed = {
        one.name: Proposal(
            text=f"ann1ka, proposed for {one.source}", captioner="the stand-in", sha256=one.sha256
        )
        for one in samples
    }
    async with open_page((await side.link()).url) as page:
        await is_open(page)
        await expect(page.get_by_text("4 without a caption: not trainable yet")).to_be_visible()
        async with page.expect_response(re.compile("/version$")):
            pass  # the page knows by now that there is no proposal
        await in_thread(proposals.write, side.guild, "annika", proposed)
        await expect(page.get_by_role("button", name="Accept all (4)")).to_be_visible()
        await look(page, "captions-proposals", tmp_path)
        await page.keyboard.press("Alt+KeyN")
        await page.keyboard.press("Alt+KeyA")
        await page.keyboard.press("Alt+ArrowDown")
        await page.keyboard.press("Alt+KeyA")
        await page.keyboard.type(" and edited")
        await page.keyboard.press("Alt+ArrowDown")
        await page.keyboard.press("Alt+KeyR")
        await expect(page.locator("#proposal")).to_be_hidden()
        assert installation.datasets.find(side.guild, "annika") == version
        await page.keyboard.press("Control+KeyS")
        await is_open(page, "annika@2")
        await page.get_by_role("button", name="Accept all (1)").click()
        await page.get_by_role("button", name="Accept 1 proposal").click()
        await page.get_by_role("button", name="Save 1 change").click()
        await is_open(page, "annika@3")

    last = installation.datasets.find(side.guild, "annika")
    assert (last.accepted_captions, last.without_caption) == (2, 1)
    assert proposals.read(side.guild, "annika") == {}


async def test_five_hundred_samples_are_listed_once_and_thumbnails_load_when_seen(
    side: CaptionSide, tmp_path: Path
) -> None:
    picture = jpeg(256, 160, quality=40)
    files: dict[str, bytes | str] = {}
    for number in range(_MANY):
        files |= {f"{number:03}.jpg": picture, f"{number:03}.txt": f"ann1ka, picture {number}"}
    await side.add(files)
    asked: list[str] = []

    async with open_page((await side.link()).url) as page:
        await is_open(page)
        page.on("request", lambda request: asked.append(request.url))
        await page.reload()
        await expect(page.locator("#list li")).to_have_count(_MANY)
        await expect(page.locator("#tokens")).to_contain_text("tokens")
        assert len([url for url in asked if "/thumbnails/" in url]) < _MANY / 4
        await page.evaluate(_ROWS_TOUCHED)
        await page.keyboard.press("Alt+ArrowDown")
        await page.keyboard.type(" in a long coat")
        await expect(page.get_by_role("button", name="Save 1 change")).to_be_visible()
        assert len(await page.evaluate("[...touched]")) < _MANY / 10
        await page.get_by_label("Search").fill("picture 49")
        await expect(page.locator("#list li:visible")).to_have_count(11)
        await look(page, "captions-many", tmp_path)
        await page.locator("#list li:visible").last.scroll_into_view_if_needed()
        await expect(page.locator("#list li:visible img").last).to_have_js_property(
            "naturalWidth", 256
        )


async def test_a_phone_shows_one_pane_at_a_time(side: CaptionSide, tmp_path: Path) -> None:
    await side.add(BARE)

    async with open_page((await side.link()).url) as page:
        await page.set_viewport_size({"width": 390, "height": 844})
        await is_open(page)
        await expect(page.get_by_label("Caption", exact=True)).to_be_hidden()
        await opened(page, "d.mp4")
        await expect(page.locator("#list")).to_be_hidden()
        await expect(page.locator("video")).to_have_js_property("readyState", 4)
        await look(page, "captions-sample", tmp_path)
        await page.get_by_role("button", name="All samples").click()
        await expect(page.locator("#list")).to_be_visible()
        await look(page, "captions-list", tmp_path)
