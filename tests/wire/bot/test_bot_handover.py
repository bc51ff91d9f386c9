"""Several copies of the bot at once: each interaction is answered once, one copy keeps cards."""

import asyncio
import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import discord
import pytest

from bot.discord.copies import interaction_claims
from bot.discord.copies.interaction_claims import Claimed
from bot.discord.copies.interruptions import Begun
from bot.sandbox.client import Message, SandboxUser
from bot.sandbox.faults import Faults
from bot.sandbox.server import SandboxServer
from bot.sandbox.wire import ApiError, Json
from bot.sandbox.world.attachments import FilePart
from tests.wire.bot.chat import Chat
from tests.wire.bot.copies import Copies, Copy, until
from tests.wire.bot.processes import bot_process
from training.operations.run_list import RunPage


@pytest.fixture
def acknowledged(server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each interaction was acknowledged, refusals included."""
    counted: Counter[str] = Counter()
    take = server.interactions.answer

    def answer(interaction_id: str, token: str, body: Json, uploads: dict[int, FilePart]) -> Json:
        counted[interaction_id] += 1
        return take(interaction_id, token, body, uploads)

    monkeypatch.setattr(server.interactions, "answer", answer)
    return counted


@pytest.fixture
async def people(server: SandboxServer) -> AsyncIterator[list[Chat]]:
    users = [SandboxUser(server.page_url, user=name) for name in ("Ada", "Ben") for _ in range(3)]
    yield [Chat(user) for user in users]
    for user in users:
        await user.aclose()


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the logged warnings, except those about Discord's rate limits."""
    warned = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    return [text for text in warned if "is rate limited. Retrying" not in text]


async def ask_all(chat: Chat, with_buttons: Message) -> None:
    """Use a command, a completion and a button, and read each answer."""
    assert "wan22-i2v-lightning" in (await chat.ask("models")).text
    completed = await chat.user.autocomplete("dataset show", "name", "ann")
    assert [choice.value for choice in completed] == ["annika"]
    pressed = await chat.user.press(with_buttons, "Captions")
    assert pressed.status != "failed"
    assert (await chat.user.reply(pressed)).attachments


async def test_each_interaction_is_answered_once_while_copies_come_and_go(
    copies: Copies,
    people: list[Chat],
    acknowledged: Counter[str],
    archive: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = await copies.start()
    added = await people[0].ask("dataset add", name="annika", zip=archive)
    rounds: asyncio.Queue[None] = asyncio.Queue()
    is_over = asyncio.Event()

    async def keep_asking(chat: Chat) -> None:
        while not is_over.is_set():
            await ask_all(chat, added)
            rounds.put_nowait(None)

    async def hand_over(old: Copy) -> Copy:
        new = await copies.start()
        assert (old.bot.is_active, new.bot.is_active) == (True, False)
        await old.leave()
        for _ in range(2 * len(people)):
            await rounds.get()
        return new

    async with asyncio.TaskGroup() as group:
        for chat in people:
            group.create_task(keep_asking(chat))
        second = await hand_over(first)
        third = await hand_over(second)
        is_over.set()

    assert set(acknowledged.values()) == {1}
    claimed = [set(copy.claims.own) for copy in (first, second, third)]
    assert all(claimed)
    interactions = [name for names in claimed for name in names if name.isdigit()]
    assert sorted(interactions) == sorted(acknowledged)
    assert third.bot.is_active
    assert complaints(caplog) == []


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that is set at the end of the test at the latest."""
    event = threading.Event()
    yield event
    event.set()


def hold_runs(copy: Copy, gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `/runs` of this copy wait until the event is set."""

    runs = copy.bot.client.service.installation.runs
    page = runs.page

    def held(*args: Any, **options: Any) -> RunPage:
        gate.wait()
        return page(*args, **options)

    monkeypatch.setattr(runs, "page", held)


async def test_a_leaving_copy_finishes_its_commands_while_the_next_is_active(
    copies: Copies,
    people: list[Chat],
    server: SandboxServer,
    acknowledged: Counter[str],
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ada, old, new = people[0], await copies.start(), await copies.start()
    hold_runs(old, gate, monkeypatch)
    begun = await ada.user.command("runs")

    leaving = asyncio.create_task(old.leave())
    await until(lambda: new.bot.is_active)
    await ada.ask("models")
    sessions_before = len(server.gateway.sessions)
    gate.set()
    answer = await ada.user.reply(begun)
    await leaving

    assert "No runs yet" in answer.text
    assert len(new.claims.own) == 1
    assert sessions_before == 2
    assert [bool(one.connection) for one in server.gateway.sessions.values()] == [True]
    assert set(acknowledged.values()) == {1}


async def test_a_command_that_takes_too_long_is_cancelled_and_its_user_told(
    copies: Copies,
    people: list[Chat],
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = await copies.start(grace=0.2)
    hold_runs(copy, gate, monkeypatch)
    begun = await people[0].user.command("runs")

    await copy.leave()

    answer = await people[0].user.reply(begun)
    assert "The bot was restarted while handling your request. Nothing was changed." in answer.text
    assert "Try again." in answer.text


def kill(killed: Copy) -> None:
    """End the leases of a copy that has begun commands: a killed copy renews none."""
    notes = [Begun.model_validate_json(note) for note in killed.claims.notes()]
    leader = f"bot/active/{killed.bot.client.application_id}"
    for lease in (*(note.copy_name for note in notes), leader):
        killed.local.runtime.leases.revoke(lease, attempt=1)


async def test_the_next_copy_tells_whose_command_a_killed_one_left_unfinished(
    copies: Copies,
    people: list[Chat],
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed, standby = await copies.start(grace=0.1), await copies.start()
    await people[0].ask("models")
    hold_runs(killed, gate, monkeypatch)
    begun = await people[0].user.command("runs")
    await until(lambda: bool(killed.claims.notes()))

    kill(killed)
    answer = await people[0].user.reply(begun)
    await until(lambda: standby.claims.notes() == [])

    assert "The bot was restarted while handling your request. Nothing was changed." in answer.text


async def test_whose_command_was_cut_off_is_told_when_discord_is_there_again(
    copies: Copies,
    people: list[Chat],
    server: SandboxServer,
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed, standby = await copies.start(grace=0.1), await copies.start()
    hold_runs(killed, gate, monkeypatch)
    begun = await people[0].user.command("runs")
    await until(lambda: bool(killed.claims.notes()))
    refused: list[str] = []
    strike = Faults.strike

    async def struck(faults: Faults, operation: str) -> None:
        if operation == "POST /webhooks/{webhook_id}/{webhook_token}" and len(refused) < 2:
            refused.append(operation)
            raise ApiError(520, 0, "520: Web server is returning an unknown error")
        await strike(faults, operation)

    monkeypatch.setattr(Faults, "strike", struck)
    kill(killed)
    answer = await people[0].user.reply(begun)
    await until(lambda: standby.claims.notes() == [])

    assert len(refused) == 2
    assert "The bot was restarted while handling your request." in answer.text


async def test_a_command_is_noted_before_its_user_sees_that_it_was_accepted(
    copies: Copies, people: list[Chat], server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interaction_claims, "_NOTE_SECONDS", 60.0)
    copy = await copies.start()
    noted: list[list[str]] = []
    take = server.interactions.answer

    def answer(interaction_id: str, token: str, body: Json, uploads: dict[int, FilePart]) -> Json:
        notes = map(Begun.model_validate_json, copy.claims.notes())
        noted.append([note.interaction for note in notes if note.interaction == interaction_id])
        return take(interaction_id, token, body, uploads)

    monkeypatch.setattr(server.interactions, "answer", answer)
    begun = [await people[0].user.command(name) for name in ("models", "runs")]

    assert noted == [[one.id] for one in begun]


@pytest.mark.slow
async def test_the_user_of_a_killed_bot_is_told_soon_after_the_restart(
    copies: Copies, people: list[Chat], server: SandboxServer, archive: Path
) -> None:
    async with bot_process(server, copies.home) as process:
        begun = await people[0].user.command("dataset add", {"name": "annika", "zip": archive})
        os.kill(process.pid, signal.SIGKILL)

    async with bot_process(server, copies.home), asyncio.timeout(120):
        answer = await people[0].user.reply(begun)

    assert "The bot was restarted while handling your request." in answer.text
    assert "/dataset list" in answer.text


class NoteDialog(Claimed, discord.ui.Modal, title="Note"):
    """A dialog, for the test: the bot has none at present."""

    text: discord.ui.TextInput[Any] = discord.ui.TextInput(label="Text", custom_id="text")

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message(f"noted {self.text.value}")


async def add_note_command(copy: Copy) -> None:
    @copy.bot.client.tree.command(description="Open a dialog")
    async def note(interaction: discord.Interaction[discord.Client]) -> None:
        await interaction.response.send_modal(NoteDialog())

    await copy.bot.client.tree.sync()


@pytest.mark.parametrize("opener_leaves", [False, True], ids=["active", "leaving"])
async def test_a_dialog_is_answered_by_the_copy_that_opened_it(
    copies: Copies,
    people: list[Chat],
    acknowledged: Counter[str],
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    *,
    opener_leaves: bool,
) -> None:
    ada, old, new = people[0], await copies.start(), await copies.start()
    for copy in (new, old):
        await add_note_command(copy)
    opened = await ada.user.command("note")
    hold_runs(old, gate, monkeypatch)
    await ada.user.command("runs")
    leaving = [asyncio.create_task(old.leave())] if opener_leaves else []
    await until(lambda: new.bot.is_active is opener_leaves)

    assert opened.modal is not None
    answer = await ada.user.reply(await ada.user.submit(opened.modal, {"Text": "hello"}))
    gate.set()
    await asyncio.gather(*leaving)

    assert answer.content == "noted hello"
    assert new.claims.own == []
    assert set(acknowledged.values()) == {1}


async def test_the_active_copy_answers_even_when_claims_are_out_of_reach(
    copies: Copies,
    people: list[Chat],
    acknowledged: Counter[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for copy in (await copies.start(), await copies.start()):
        copy.claims.is_cut = True

    await people[0].ask("models")

    await until(lambda: len(complaints(caplog)) == 2)
    assert set(complaints(caplog)) == {"an interaction could not be claimed"}
    assert list(acknowledged.values()) == [1]


async def test_a_bot_that_is_asked_to_end_finishes_its_commands_first(
    copies: Copies, people: list[Chat], server: SandboxServer, archive: Path
) -> None:
    async with bot_process(server, copies.home) as process:
        standby = await copies.start()
        begun = await people[0].user.command("dataset add", {"name": "annika", "zip": archive})

        process.send_signal(signal.SIGTERM)
        answer = await people[0].user.reply(begun)
        status = await asyncio.to_thread(process.wait, 20)
        await until(lambda: standby.bot.is_active)

    assert "annika@1" in answer.text
    assert status == 0
    assert standby.claims.own == []


async def test_a_standby_answers_in_time_when_the_active_copy_was_killed(
    copies: Copies, people: list[Chat], server: SandboxServer, acknowledged: Counter[str]
) -> None:
    ada = people[0]
    async with bot_process(server, copies.home) as process:
        standby = await copies.start()
        await ada.ask("models")
        os.kill(process.pid, signal.SIGKILL)

        await ada.ask("models")

    assert len(standby.claims.own) == 1
    assert not standby.bot.is_active
    assert set(acknowledged.values()) == {1}
