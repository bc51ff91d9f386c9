"""Plans, cards of runs in every state, and their threads: wide, on a phone, and in the dark."""

import io
import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import discord
import pytest
from PIL import Image
from playwright.async_api import Locator, expect

from bot.discord.answers.answers import to_embed
from bot.discord.answers.layouts import picture_file, to_layout
from bot.discord.buttons.plans import PlanButton
from bot.discord.buttons.runs import run_buttons
from bot.messages.datasets.contact_sheet import draw_sheet
from bot.messages.picture import Picture
from bot.messages.runs.card import run_card
from bot.messages.runs.chart import Series, draw_chart
from bot.messages.runs.milestones import (
    SavedFile,
    dataset_panel,
    end_panel,
    merged_panel,
    milestones,
    saved_panel,
)
from bot.messages.runs.plan import asked_card
from bot.sandbox.connect import point_discord_at
from bot.sandbox.server import SandboxServer
from tests.specs import report
from tests.unit.bot.messages.card_states import NOW, STATES
from tests.unit.bot.messages.plan_examples import a_plan
from tests.unit.bot.messages.run_examples import a_spec
from tests.wire.browser import CHROMIUM, open_page
from training.dataset.decoding.thumbnail import BOX
from training.dataset.report import Finding
from training.operations.drafts import PLAN_LIFE
from training.pipeline.run_view import Metric, RunView

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
PHONE = 390  # pixels


def a_chart(view: RunView) -> Picture | None:
    """Return a chart of the mean losses that the run's experts have reported."""
    steps = view.spec.steps_per_epoch
    series: list[Series] = []
    for spec in view.spec.experts:
        state = view.run.expert(spec.name)
        metrics = [
            Metric(step=n, loss=mean * (1 + (n % 7 - 3) / 20), learning_rate=1e-4)
            for epoch, mean in state.losses.items()
            for n in range((epoch - 1) * steps + 1, epoch * steps + 1)
        ]
        saved = [(one.step, one.epoch) for one in state.checkpoints]
        series.append(Series(spec.name, metrics, view.expert(spec.name).total_steps, saved))
    return draw_chart(series)


async def post(place: discord.abc.Messageable, view: RunView) -> None:
    """Post the card of a run as the bot does."""
    chart = a_chart(view) if view.run.status.is_final else None
    layout = to_layout(run_card(view, now=NOW), run_buttons(view), picture=chart)
    await place.send(view=layout, files=picture_file(chart))


async def post_plan(place: discord.abc.Messageable) -> None:
    """Post a plan with all that it may show, as the bot answers `/train`."""
    spec = a_spec(settings={"learning_rate": "high=0.1", "epochs": "60"})
    finding = Finding(
        code="trigger-missing",
        severity="warning",
        file="videos/004.mp4",
        cause="videos/004.mp4 does not have the trigger word in its caption.",
        fix="Add it.",
        repaired=False,
    )
    plan = a_plan(spec, report=report().model_copy(update={"findings": (finding,)}))
    card = asked_card(plan, NOW + PLAN_LIFE, 2.0, ("The expected cost is now $24; it was $20.",))
    buttons = discord.ui.View(timeout=None)
    for action in ("start", "change", "clips", "dismiss"):
        buttons.add_item(PlanButton(action, "1", 1))
    await place.send(embed=to_embed(card), view=buttons)


@asynccontextmanager
async def channel_of(server: SandboxServer) -> AsyncGenerator[discord.abc.Messageable]:
    """Return the first channel, to which the bot posts."""
    channel = next(c["id"] for c in server.world.channels.values() if c["type"] == 0)
    with point_discord_at(server.base_url):
        async with discord.Client(intents=discord.Intents.none()) as client:
            await client.login(server.bot_token)
            yield client.get_partial_messageable(int(channel))


async def post_thread(place: discord.abc.Messageable, view: RunView) -> None:
    """Tell a run's milestones in the channel, as the bot does in the run's thread."""
    shown = milestones(view)
    files = {one.key: SavedFile("http://localhost/d", "400/400 modules load") for one in shown}
    saved = [one for one in shown if one.kind == "saved"]
    grey = {sample.source: Image.new("RGB", BOX, (120, 130, 140)) for sample in report().samples}
    sheet, chart = draw_sheet(report(), grey), a_chart(view)
    panels = {
        dataset_panel(view.spec, report()): sheet,
        merged_panel(view, "high", None): None,
        saved_panel(view, saved[:1], files): chart,
    }
    for panel, picture in panels.items():
        layout = to_layout(panel, picture=picture)
        await place.send(view=layout, files=picture_file(picture))
    logs = [discord.File(io.BytesIO(b"log"), f"train-{name}-1.txt") for name in ("high", "low")]
    layout = to_layout(end_panel(view), run_buttons(view), picture=chart, files=logs)
    await place.send(view=layout, files=[*picture_file(chart), *logs])


async def test_plans_cards_and_threads_fit_the_page_and_a_phone(
    server: SandboxServer, tmp_path: Path
) -> None:
    names = ["plan", *STATES, *(f"thread-{number}" for number in range(4))]
    async with channel_of(server) as place:
        await post_plan(place)
        for state in STATES.values():
            await post(place, state())
        await post_thread(place, STATES["failed"]())
    folder = Path(os.environ.get("LORABOT_PICTURES", tmp_path))

    async with open_page(server.page_url, is_quiet=True) as page:
        log = page.get_by_role("log")
        await expect(log.get_by_role("article")).to_have_count(len(names))
        for width, scheme in ((1180, "light"), (1180, "dark"), (PHONE, "light"), (PHONE, "dark")):
            await page.set_viewport_size({"width": width, "height": 1900})  # a whole card
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            for number, name in enumerate(names):
                card = log.get_by_role("article").nth(number)
                await card.screenshot(path=folder / f"card-{name}-{width}-{scheme}.png")
        await expect_words_for_every_picture(log)


async def expect_words_for_every_picture(log: Locator) -> None:
    pictures = log.get_by_role("img")
    described = [await one.get_attribute("alt") or "" for one in await pictures.all()]
    is_final = [state().run.status.is_final for state in STATES.values()]
    assert len(described) == sum(is_final) + 3  # a chart each; a sheet and two in the thread
    assert [alt for alt in described if not re.search(r"\d", alt)] == []
