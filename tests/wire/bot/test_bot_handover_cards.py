"""Several copies of the bot at once: exactly one keeps the cards and pings."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.discord.cards.card_keeper import CardKeeper
from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer
from storage.local.leases import FileLeases
from tests.wire.bot.chat import Chat, is_card
from tests.wire.bot.copies import Copies, Copy, until
from tests.wire.bot.processes import SLOW, bot_process
from training.ports import Grant

TRAIN = {"model": "wan21-t2v-1-3b", "dataset": "annika", "name": "mine", "save_every": "1"}


@pytest.fixture
async def ada(server: SandboxServer) -> AsyncIterator[Chat]:
    async with SandboxUser(server.page_url, user="Ada") as user:
        yield Chat(user)


async def counts(ada: Chat) -> tuple[int, int]:
    """Return how many cards and how many pings the run has."""
    seen = await ada.user.messages()
    cards = [one for one in seen if is_card(one, "mine")]
    pings = [one for one in seen if one.mentions and " mine " in one.content]
    return len(cards), len(pings)


def note_writes(copies: dict[str, Copy], monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each copy sends or edits a message that is not an answer."""
    counted: Counter[str] = Counter()

    def note(name: str, copy: Copy, method: str) -> None:
        write = getattr(copy.bot.client.http, method)

        def noted(*where: Any, **how: Any) -> Any:
            counted[name] += 1
            return write(*where, **how)

        monkeypatch.setattr(copy.bot.client.http, method, noted)

    for name, copy in copies.items():
        for method in ("send_message", "edit_message"):
            note(name, copy, method)
    return counted


async def take_lease(copy: Copy) -> tuple[FileLeases, Grant]:
    """Take over the lease of the active copy, as another copy would after it expired."""
    leases = FileLeases(copy.local.home / "leases")
    name = f"bot/active/{copy.bot.client.application_id}"
    leases.revoke(name, attempt=1)
    grant = leases.acquire(name, holder="another")
    assert grant is not None
    await until(lambda: not copy.bot.is_active)
    return leases, grant


async def run_has_ended(copy: Copy, leases: FileLeases, grant: Grant) -> str:
    """Wait until the run has ended, keeping the lease from the copy; return the run's guild."""
    (guild,) = (guild for guild in copy.local.guilds() if copy.local.runs.names(guild))
    log = copy.local.runtime.log(guild, "mine")
    await until(lambda: leases.renew(grant) and log.load().status.is_final)
    return guild


@pytest.mark.slow
async def test_of_two_copies_one_keeps_the_card_and_pings_once(
    copies: Copies, ada: Chat, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    active, standby = await copies.start(), await copies.start()
    writes = note_writes({"active": active, "standby": standby}, monkeypatch)
    await ada.ask("dataset add", name="annika", zip=archive)

    await ada.ask("train", **TRAIN, epochs="2")
    await ada.ping("mine")

    await ada.card("mine", lambda m: "succeeded" in m.text)
    assert await counts(ada) == (1, 1)
    assert list(writes) == ["active"]


@pytest.mark.slow
async def test_a_standby_that_starts_a_run_leaves_its_card_to_the_active_copy(
    copies: Copies, ada: Chat, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    active, standby = await copies.start(), await copies.start()
    writes = note_writes({"active": active, "standby": standby}, monkeypatch)
    await ada.ask("dataset add", name="annika", zip=archive)
    active.claims.delay_seconds = 2 * 0.3

    await ada.ask("train", **TRAIN, epochs="1")
    await ada.ping("mine")

    assert len(standby.claims.own) == 1
    assert await counts(ada) == (1, 1)
    assert list(writes) == ["active"]


@pytest.mark.slow
async def test_a_copy_that_lost_its_lease_answers_but_keeps_no_cards_until_it_has_it_again(
    copies: Copies, ada: Chat, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.2")
    copy = await copies.start()
    await ada.ask("dataset add", name="annika", zip=archive)
    await ada.ask("train", **TRAIN, epochs="2")
    await ada.card("mine", lambda m: "step" in m.text)

    leases, grant = await take_lease(copy)
    await ada.ask("status", run_name="mine")
    left = await ada.card("mine")
    await run_has_ended(copy, leases, grant)
    status = await ada.ask("status", run_name="mine")
    unchanged = await ada.card("mine")
    before = await counts(ada)
    leases.release(grant)
    await ada.ping("mine")

    assert "succeeded" in status.text
    assert unchanged.raw == left.raw
    assert "succeeded" not in left.text
    assert before == (1, 0)
    assert await counts(ada) == (1, 1)


@pytest.mark.slow
async def test_a_run_that_ended_without_an_active_copy_is_announced_by_the_next_one(
    copies: Copies, ada: Chat, archive: Path
) -> None:
    copy = await copies.start()
    await ada.ask("dataset add", name="annika", zip=archive)
    leases, grant = await take_lease(copy)
    await ada.ask("train", **TRAIN, epochs="1")
    await run_has_ended(copy, leases, grant)
    assert await counts(ada) == (0, 0)

    leases.release(grant)
    await ada.ping("mine")

    assert await counts(ada) == (1, 1)


@pytest.mark.slow
async def test_two_copies_that_both_believe_to_be_active_post_one_card_and_one_ping(
    copies: Copies, ada: Chat, archive: Path
) -> None:
    copy = await copies.start()
    await ada.ask("dataset add", name="annika", zip=archive)
    leases, grant = await take_lease(copy)
    await ada.ask("train", **TRAIN, epochs="1")
    guild = await run_has_ended(copy, leases, grant)
    client = copy.bot.client
    keepers = [CardKeeper(client, client.service, copy.local.runtime.store) for _ in range(2)]

    await asyncio.gather(*(keeper.show(guild, "mine") for keeper in keepers))

    assert await counts(ada) == (1, 1)


@pytest.mark.slow
async def test_the_card_is_updated_again_after_the_lease_of_a_killed_copy_expires(
    copies: Copies, ada: Chat, server: SandboxServer, archive: Path
) -> None:
    async with bot_process(server, copies.home) as process:
        standby = await copies.start()
        await ada.ask("dataset add", name="annika", zip=archive)
        await ada.ask("train", **TRAIN, epochs="4")
        before = await ada.card("mine", lambda m: "step" in m.text)
        os.kill(process.pid, signal.SIGKILL)

        await until(lambda: standby.bot.is_active)
        await ada.ping("mine")

    after = await ada.card("mine", lambda m: "succeeded" in m.text)
    assert after.id == before.id
    assert await counts(ada) == (1, 1)
