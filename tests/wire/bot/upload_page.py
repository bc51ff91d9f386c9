"""Opens upload links and drops files onto their page."""

from pathlib import Path

from playwright.async_api import Page

from tests.wire.bot.chat import Chat

# Give the page files as a person who drops them does, without sending them through the test.
_DROP = """async (input) => {
    const data = new DataTransfer();
    for (const file of input.files) data.items.add(file);
    document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
    input.remove();
}"""
_INPUT = """() => {
    const input = document.createElement("input");
    Object.assign(input, { type: "file", multiple: true, id: "desktop" });
    document.body.append(input);
}"""


async def link(chat: Chat, name: str = "annika", **options: str | bool) -> str:
    answer = await chat.ask("dataset upload", name=name, **options)
    (button,) = (one for one in answer.buttons.values() if "url" in one)
    assert answer.ephemeral
    return str(button["url"])


async def drop(page: Page, *files: Path) -> None:
    await page.evaluate(_INPUT)
    await page.locator("#desktop").set_input_files(list(files))
    await page.locator("#desktop").evaluate(_DROP)


async def drop_folder(page: Page, folder: Path) -> None:
    """Drag a folder from the desktop onto the page; only the browser itself can do this."""
    browser = await page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, "x": 300, "y": 300, "data": data}
        await browser.send("Input.dispatchDragEvent", event)
