"""A redeploy of the bot while people type: nothing is missed, and the new copy takes over."""

import asyncio
import itertools
import json
import re
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.sandbox.server import SandboxServer
from bot.sandbox.wire import Json
from tests.wire.bot.chat import Chat
from tests.wire.bot.copies import until
from tests.wire.modal.asking import asking, cards_and_pings
from tests.wire.modal.hosting import Hosting, hosting, person
from tests.wire.modal.loopback.api import PATIENCE_SECONDS
from tests.wire.modal.loopback.container import Container
from training.runs.events import StageEvent
from training.runs.training_events import EpochEnded
from training.vocabulary import StageKey

EPOCHS_OF_BOTH = 5


@pytest.mark.slow
async def test_a_redeploy_misses_no_command_and_leaves_one_active_copy(tmp_path: Path) -> None:
    async with hosting(tmp_path) as hosted, person(hosted.server) as ada:
        old = await asyncio.to_thread(hosted.start)
        await asyncio.to_thread(hosted.add_run, "mine")
        card = await ada.card("mine")

        is_over = asyncio.Event()
        with edits_by_epoch(hosted.server, card.id) as edits:
            async with asking(hosted.server, ada) as asked:
                new, epochs = await asyncio.gather(
                    redeploy(hosted, old, edits, is_over), train(hosted, ada, is_over)
                )
        await asyncio.to_thread(hosted.end_run, "mine")
        await ada.ping("mine")
        ended = await ada.card("mine", lambda m: "succeeded" in m.text)

        assert asked.failed == []
        assert len(asked.answered) > 20
        assert set(asked.acknowledgements.values()) == {1}
        assert old.exit_code == 0
        assert "no longer active" in old.text
        assert new.text.count("this copy of the bot is active") == 1
        assert ended.id == card.id
        assert await cards_and_pings(ada, "mine") == (1, 1)
        assert connections(hosted.server) == 1
        assert sorted(edits) == list(range(1, epochs + 1))
        # The new copy edits the card once when it takes over, whatever the card shows.
        assert edits.total() - epochs <= 1, edits


async def redeploy(
    hosted: Hosting, old: Container, edits: Counter[int], is_over: asyncio.Event
) -> Container:
    """Replace the bot, with both copies connected for some epochs; return the new container."""
    with kept_serving(old):
        await asyncio.to_thread(hosted.deploy, LORABOT_LINK_HOURS="12")
        await until(lambda: connections(hosted.server) == 2)
        seen = len(edits)
        await until(lambda: len(edits) >= seen + EPOCHS_OF_BOTH)
        assert old.exit_code is None
    new = await asyncio.to_thread(hosted.wait_until_it_serves, except_for=(old,))
    is_over.set()
    return new


def connections(server: SandboxServer) -> int:
    """Return how many copies of the bot are connected."""
    return len([one for one in server.gateway.sessions.values() if one.connection])


@contextmanager
def kept_serving(container: Container) -> Generator[None]:
    """Let a copy of the bot go on while another takes over, as if a request to it stayed open."""
    container.definition.http_config.exit_grace_period = round(PATIENCE_SECONDS)
    container.requests += 1
    try:
        yield
    finally:
        container.requests -= 1


async def train(hosted: Hosting, ada: Chat, is_over: asyncio.Event) -> int:
    """End an epoch of the run as soon as its card shows the one before; return how many ended."""
    for epoch in itertools.count(1):
        body = EpochEnded(epoch=epoch, step=epoch, loss=0.1)
        at, key = datetime.now(UTC), StageKey("train", "main")
        event = StageEvent(at=at, key=key, attempt=1, body=body)
        is_last = is_over.is_set()
        await asyncio.to_thread(hosted.append, "mine", event)
        await ada.card("mine", lambda m, shown=f"epoch {epoch}/": shown in m.text)
        if is_last:
            return epoch
    raise AssertionError("epochs never end")


@contextmanager
def edits_by_epoch(server: SandboxServer, card_id: str) -> Generator[Counter[int]]:
    """Count how often a card is edited to show each epoch, by whichever copy of the bot."""
    found = Counter[int]()
    edit = server.messages.edit

    def noted(message: Json, body: Json, *rest: Any, **named: Any) -> Json:
        if message["id"] == card_id and (shown := re.search(r"epoch (\d+)/", json.dumps(body))):
            found[int(shown[1])] += 1
        return edit(message, body, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.messages, "edit", noted)
        yield found
