"""Lists and `/help`, drawn by the chat page: wide, on a phone, and in the dark."""

import os
from datetime import timedelta
from pathlib import Path

import discord
import pytest

from bot.discord.answers.answers import to_embed
from bot.messages.card import Card
from bot.messages.help import LABELS, Known, help_card
from bot.messages.runs.answers import live_runs_card, runs_card
from bot.messages.storage import ask_removal_card, ask_to_empty_card, storage_card
from bot.sandbox.connect import point_discord_at
from bot.sandbox.server import SandboxServer
from tests.unit.bot.messages.card_states import NOW, STATES
from tests.wire.browser import CHROMIUM, open_page
from training.estimates.prices import LISTED
from training.files.sizes import GIB
from training.operations.run_list import RunPage
from training.operations.storage import StorageUse, StoredItem
from training.operations.trash.emptying import Freed
from training.pipeline.run_view import RunSummary

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
RUNS = [state().summary(NOW) for state in STATES.values()]


def is_live(run: RunSummary) -> bool:
    return run.state in ("queued", "running")


ITEMS = (
    StoredItem(kind="weights", name="all", size_bytes=62 * GIB),
    StoredItem(
        kind="merged",
        name="f" * 64,
        size_bytes=27 * GIB,
        detail="wan2.2_i2v_high_noise_14B_fp16 with Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1",
    ),
    StoredItem(kind="run", name="annika-wan22-i2v-lightning", size_bytes=3 * GIB),
    StoredItem(kind="caches", name="all", size_bytes=GIB),
    StoredItem(kind="dataset", name="annika@3", size_bytes=GIB // 3),
)
USE = StorageUse(items=ITEMS, trash=Freed(4, GIB), trash_until=NOW + timedelta(days=5))
CARDS: dict[str, Card] = {
    **{f"help-{step}": help_card(step, Known(dataset="annika")) for step in LABELS},
    "runs": runs_card(RunPage(25, RUNS[:10], 10)),
    "queue": live_runs_card([*filter(is_live, RUNS)], now=NOW, are_held=True),
    "storage": storage_card(USE, ITEMS, 0, 10, LISTED),
    "removal": ask_removal_card(ITEMS[2], NOW + timedelta(days=7)),
    "caches": ask_removal_card(ITEMS[3], NOW),
    "trash": ask_to_empty_card(USE.trash),
}


async def test_lists_and_help_fit_the_page_and_a_phone(
    server: SandboxServer, tmp_path: Path
) -> None:
    channel = next(c["id"] for c in server.world.channels.values() if c["type"] == 0)
    with point_discord_at(server.base_url):
        async with discord.Client(intents=discord.Intents.none()) as client:
            await client.login(server.bot_token)
            place = client.get_partial_messageable(int(channel))
            for card in CARDS.values():
                await place.send(embed=to_embed(card))
    folder = Path(os.environ.get("LORABOT_PICTURES", tmp_path))

    async with open_page(server.page_url, is_quiet=True) as page:
        shown = page.get_by_role("log").get_by_role("article")
        await shown.nth(len(CARDS) - 1).wait_for()
        for width, scheme in ((1180, "light"), (390, "light"), (390, "dark")):
            await page.set_viewport_size({"width": width, "height": 1900})
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            for number, name in enumerate(CARDS):
                await shown.nth(number).screenshot(path=folder / f"{name}-{width}-{scheme}.png")
