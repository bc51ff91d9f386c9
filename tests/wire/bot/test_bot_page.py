"""A newcomer in a real browser does what the demonstration does."""

import os
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, async_playwright, expect

from bot.demo.clips import write_dataset
from bot.host import RunningBot
from bot.sandbox.server import SandboxServer
from training.tensor_header import read_header

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RUN = "annika-wan22-i2v-lightning"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")


@pytest.fixture
async def page(server: SandboxServer, bot: RunningBot) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": 1180, "height": 1000})
        page.set_default_timeout(20_000)
        await page.goto(server.page_url)
        yield page
        await browser.close()


@dataclass(frozen=True)
class Newcomer:
    """A person at the page, with a camera."""

    page: Page
    tmp_path: Path

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log")

    async def begin(self, command: str) -> None:
        await self.page.get_by_role("combobox", name="Message").fill(command)
        await self.page.keyboard.press("Enter")

    async def type(self, text: str, *keys: str) -> None:
        await self.page.keyboard.type(text)
        for key in keys:
            await self.page.keyboard.press(key)

    async def look(self, name: str) -> None:
        """Take a picture, into LORABOT_PICTURES for the README or to a place to forget."""
        folder = Path(os.environ.get("LORABOT_PICTURES", self.tmp_path))
        await self.page.screenshot(path=folder / f"{name}.png")


async def test_a_newcomer_uploads_trains_and_downloads(page: Page, tmp_path: Path) -> None:
    archive = write_dataset(tmp_path / "annika.zip")
    newcomer = Newcomer(page, tmp_path)

    await add_dataset(newcomer, archive)
    await train(newcomer)
    file = await download(newcomer)

    assert len(read_header(file).tensors) == 60


async def add_dataset(newcomer: Newcomer, archive: Path) -> None:
    await newcomer.begin("/dataset add")
    await newcomer.type("annika")
    await newcomer.page.locator("input[type=file]").first.set_input_files(archive)
    await newcomer.look("dataset-add")
    await newcomer.page.get_by_role("button", name="Run").click()
    await expect(newcomer.log.get_by_text("annika@1", exact=True)).to_be_visible()
    await newcomer.look("dataset-added")


async def train(newcomer: Newcomer) -> None:
    await newcomer.begin("/train")
    await newcomer.look("train")
    await newcomer.type("wan22-i2v-lightning", "Tab")
    await newcomer.type("annika", "Enter", "Enter")
    running = re.compile(f"{RUN}: (queued|running)")
    card = newcomer.log.get_by_role("article").filter(has_text=running)
    await expect(card.get_by_role("button", name="Cancel")).to_be_visible()
    await expect(card.filter(has_text=re.compile(r"step \d"))).to_be_visible(timeout=60_000)
    await newcomer.look("card-running")
    await expect(newcomer.log.get_by_text(f"{RUN}: succeeded")).to_be_visible(timeout=90_000)
    await newcomer.look("card-succeeded")


async def download(newcomer: Newcomer) -> Path:
    await newcomer.begin("/download")
    await newcomer.type(RUN, "Enter", "Enter")
    link = newcomer.log.get_by_role("link", name="epoch 50").first
    await expect(link).to_be_visible()
    await newcomer.look("download")
    async with newcomer.page.expect_download() as found:
        await link.click()
    file = newcomer.tmp_path / "lora.safetensors"
    await (await found.value).save_as(file)
    return file
