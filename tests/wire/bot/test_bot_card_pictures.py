"""Cards of runs in every state, drawn by the chat page: wide, on a phone, and in the dark."""

import io
import os
from pathlib import Path

import discord
import pytest
from playwright.async_api import Locator, expect

from bot.discord.answers.layouts import picture_file, to_layout
from bot.discord.buttons.runs import run_buttons
from bot.messages.picture import Picture
from bot.messages.runs.card import run_card
from bot.messages.runs.chart import Series, draw_chart
from bot.messages.runs.milestones import (
    SavedFile,
    end_panel,
    merged_panel,
    milestones,
    saved_panel,
)
from bot.sandbox.connect import point_discord_at
from bot.sandbox.server import SandboxServer
from tests.unit.bot.messages.card_states import NOW, STATES
from tests.wire.browser import CHROMIUM, open_page
from training.pipeline.run_view import Metric, RunView

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
PHONE = 390  # pixels


def a_chart() -> Picture:
    def metrics(first: float) -> list[Metric]:
        return [
            Metric(step=n, loss=first / (1 + n / 300) + 0.01 * (n % 7), learning_rate=1e-4)
            for n in range(1, 900)
        ]

    saved = [(18 * epoch, epoch) for epoch in (10, 20, 30, 40)]
    chart = draw_chart(
        [Series("high", metrics(0.2), 900, saved), Series("low", metrics(0.12), 900, saved)]
    )
    assert chart is not None
    return chart


async def post(server: SandboxServer, view: RunView) -> None:
    """Post the card of a run as the bot does."""
    channel = next(c["id"] for c in server.world.channels.values() if c["type"] == 0)
    chart = a_chart() if view.run.status.is_final else None
    layout = to_layout(run_card(view, now=NOW), run_buttons(view), picture=chart)
    with point_discord_at(server.base_url):
        async with discord.Client(intents=discord.Intents.none()) as client:
            await client.login(server.bot_token)
            place = client.get_partial_messageable(int(channel))
            await place.send(view=layout, files=picture_file(chart))


async def look(card: Locator, folder: Path, name: str) -> None:
    page = card.page
    for width, scheme in ((1180, "light"), (1180, "dark"), (PHONE, "light"), (PHONE, "dark")):
        await page.set_viewport_size({"width": width, "height": 1900})  # a whole card
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await card.screenshot(path=folder / f"card-{name}-{width}-{scheme}.png")


async def post_thread(server: SandboxServer, view: RunView) -> None:
    """Tell a run's milestones in the channel, as the bot does in the run's thread."""
    channel = next(c["id"] for c in server.world.channels.values() if c["type"] == 0)
    shown = milestones(view)
    files = {one.key: SavedFile("http://localhost/d", "400/400 modules load") for one in shown}
    saved = [one for one in shown if one.kind == "saved"]
    panels = [merged_panel(view, "high", None), saved_panel(view, saved[:1], files)]
    logs = [discord.File(io.BytesIO(b"log"), f"train-{name}-1.txt") for name in ("high", "low")]
    with point_discord_at(server.base_url):
        async with discord.Client(intents=discord.Intents.none()) as client:
            await client.login(server.bot_token)
            place = client.get_partial_messageable(int(channel))
            chart = a_chart()
            for panel in panels:
                drawn = None if panel is panels[0] else chart
                layout = to_layout(panel, picture=drawn)
                await place.send(view=layout, files=picture_file(drawn))
            layout = to_layout(end_panel(view), run_buttons(view), picture=chart, files=logs)
            await place.send(view=layout, files=[*picture_file(chart), *logs])


async def test_the_messages_of_a_run_thread_fit_the_page_and_a_phone(
    server: SandboxServer, tmp_path: Path
) -> None:
    await post_thread(server, STATES["failed"]())

    async with open_page(server.page_url, is_quiet=True) as page:
        articles = page.get_by_role("log").get_by_role("article")
        await expect(articles).to_have_count(3)
        folder = Path(os.environ.get("LORABOT_PICTURES", tmp_path))
        for number in range(3):
            await look(articles.nth(number), folder, f"thread-{number}")


@pytest.mark.parametrize("name", STATES)
async def test_a_card_fits_the_page_and_a_phone(
    server: SandboxServer, tmp_path: Path, name: str
) -> None:
    view = STATES[name]()

    await post(server, view)

    async with open_page(server.page_url, is_quiet=True) as page:
        log = page.get_by_role("log")
        await expect(log.get_by_text(f"{view.spec.name}: ").first).to_be_visible()
        await expect(log.get_by_role("button", name="Details")).to_be_visible()
        if view.run.status.is_final:
            picture = log.get_by_role("img", name="moothed loss")
            await expect(picture).to_be_visible()
        folder = Path(os.environ.get("LORABOT_PICTURES", tmp_path))
        await look(log.get_by_role("article").last, folder, name)
