"""A person at the chat page in a real browser, with a camera, for tests."""

import asyncio
import base64
import os
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Locator, Page, expect

_DRAGGED = """([name, content]) => {
    const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, { type: "application/zip" }));
    return data;
}"""


@dataclass(frozen=True)
class Newcomer:
    """What a person does at the page."""

    page: Page
    folder: Path

    @property
    def log(self) -> Locator:
        """The messages."""
        return self.page.get_by_role("log")

    def card(self, run: str) -> Locator:
        """The public card of a run."""
        cards = self.log.get_by_role("article").filter(has_text=f"{run}: ")
        return cards.filter(has_text="Stages").last

    async def write(self, text: str) -> None:
        """Type into the box and press Enter; a command opens its form."""
        await self.page.get_by_role("combobox", name="Message").fill(text)
        await self.page.keyboard.press("Enter")

    async def command(self, name: str, *required: str, options: str = "") -> None:
        """Run a command with the keyboard."""
        await self.write(f"/{name} {options}".rstrip())
        form = self.page.get_by_role("form", name=f"/{name}")
        for value in required:
            await self.page.keyboard.type(value)
            await expect(form.get_by_role("option", name=value).first).to_be_visible()
            await self.page.keyboard.press("Tab")
        await form.get_by_role("button", name="Run").click()

    async def drop(self, file: Path) -> None:
        """Drag a file from the desktop into the messages."""
        content = base64.b64encode(await asyncio.to_thread(file.read_bytes)).decode()
        data = await self.page.evaluate_handle(_DRAGGED, [file.name, content])
        for event in ("dragenter", "dragover", "drop"):
            await self.page.dispatch_event("#log", event, {"dataTransfer": data})

    async def choose(self, message: Locator, command: str) -> None:
        """Choose a command in the menu of a message."""
        await message.hover()
        await message.get_by_label("Commands for this message").click()
        await message.get_by_role("menuitem", name=command).click()

    async def download(self, link: Locator) -> Path:
        """Press a link and return the downloaded file."""
        async with self.page.expect_download() as found:
            await link.click()
        file = self.folder / (await found.value).suggested_filename
        await (await found.value).save_as(file)
        return file

    async def look(self, name: str) -> None:
        """Take a screenshot, into LORABOT_PICTURES for the README, else into a temporary folder."""
        folder = Path(os.environ.get("LORABOT_PICTURES", self.folder))
        await self.page.screenshot(path=folder / f"{name}.png")
