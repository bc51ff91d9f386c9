"""Pictures of pages, for a person to look at."""

from pathlib import Path

from playwright.async_api import Page

from tests.wire.bot.newcomer import Newcomer

PHONE = (390, 844)
# The classes of what reaches beyond the right edge of the page.
_CUT_OFF = """() => [...document.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && one.checkVisibility())
    .map((one) => `${one.tagName} ${one.className}`)"""


async def look(page: Page, name: str, folder: Path) -> None:
    """Take pictures for a person to look at: bright and dark, wide and on a phone."""
    newcomer, wide = Newcomer(page, folder), page.viewport_size
    for width, height in ((1180, 900), PHONE):
        await page.set_viewport_size({"width": width, "height": height})
        assert await page.evaluate(_CUT_OFF) == []
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            await newcomer.look(f"{name}-{width}-{scheme}")
    assert wide is not None
    await page.set_viewport_size(wide)
