"""Pages in a real browser, for tests; all waits are as long as a slow machine needs."""

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from playwright.async_api import Page, ViewportSize, async_playwright, expect

CHROMIUM = shutil.which("chromium")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_SIZE: ViewportSize = {"width": 1180, "height": 1000}
_PATIENCE_MS = 150_000  # less than the limit of a test, which then names what it waited for
expect.set_options(timeout=_PATIENCE_MS)


@asynccontextmanager
async def open_page(url: str, *, is_quiet: bool = False) -> AsyncGenerator[Page]:
    """Open the page in a new browser; an error in its scripts fails the test.

    Args:
        url: Address of the page.
        is_quiet: Also fail on whatever is written to the browser's console.
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=_FLAGS, timeout=_PATIENCE_MS
        )
        # Turn animations off, so that screenshots show the final state.
        context = await browser.new_context(viewport=_SIZE, reduced_motion="reduce")
        context.set_default_timeout(_PATIENCE_MS)
        page = await context.new_page()
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        if is_quiet:
            page.on("console", lambda line: troubles.append(line.text))
        await page.goto(url)
        yield page
        seen = list(troubles)  # closing the browser breaks off requests, which may be logged
        await browser.close()
    assert seen == [], seen
