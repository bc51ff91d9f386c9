"""Resuming a cancelled run by command and by button, and runs that cannot be resumed."""

import asyncio
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from bot.sandbox.server import SandboxServer
from tests.wire.bot.chat import Chat, give_role
from training.errors import NotFoundError
from training.estimates.prices import listed_prices
from training.rehearsal.hold import TRAINING
from training.runs.state import RunStatus

T2V = "wan21-t2v-1-3b"
SLOW = "LORABOT_STEP_DELAY"


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hold trainings for as long as this file exists."""
    file = tmp_path / "hold"
    file.touch()
    monkeypatch.setenv(TRAINING, str(file))
    return file


async def start_and_cancel(ada: Chat, run: str, *, button: bool) -> None:
    """Train until the first checkpoint is there, then cancel."""
    options = {"epochs": "6", "save_every": "1", "name": run}
    await ada.ask("train", model=T2V, dataset="annika", **options)
    card = await ada.card(run, lambda m: "Download" in m.buttons)
    if button:
        answer = await ada.user.reply(await ada.user.press(card, "Cancel"))
    else:
        answer = await ada.ask("cancel", run_name=run)
    assert f"{run}: cancel" in answer.text
    assert "its checkpoints are kept" in (await ada.ping(run)).content


def wait_for_end(local: LocalInstallation, guild: str, run: str) -> RunStatus:
    """Wait in a thread, because no event announces the end."""
    deadline = time.monotonic() + 60
    while not (status := local.runs.view(guild, run).run.status).is_final:
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    return status


@pytest.mark.slow
async def test_a_cancelled_run_is_resumed_once_by_its_button(
    ada: Chat,
    ben: Chat,
    server: SandboxServer,
    archive: Path,
    local: LocalInstallation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give_role(server, "Ben")
    monkeypatch.setenv(SLOW, "0.2")
    await ada.ask("dataset add", name="annika", zip=archive)
    await start_and_cancel(ada, "mine", button=True)
    cancelled = await ada.card("mine", lambda m: "Resume" in m.buttons)
    monkeypatch.setenv(SLOW, "0")
    names = [c.value for c in await ada.user.autocomplete("resume", "run-name", "mi")]

    resumed = await ben.user.reply(await ben.user.press(cancelled, "Resume"))
    second = str(resumed.embeds[0]["title"])
    ping = await ben.ping(second)
    too_late = [
        (await ben.user.reply(await ben.user.press(cancelled, "Resume"))).text,
        await ada.refused("resume", run_name="mine"),
    ]

    assert list(cancelled.buttons) == ["Details", "Log", "Download", "Resume", "Train again"]
    assert names == ["mine"]
    assert ping.mentions == ["Ben"]
    for text in too_late:
        assert f"{second} already continues mine and has succeeded." in text
        assert f"`/download run-name:{second}`" in text
    card = await ada.card(second, lambda m: "succeeded" in m.text)
    assert "Resumes run **mine**" in card.text
    assert list(card.buttons) == ["Details", "Log", "Download", "Train again"]
    assert "final, epoch 6" in card.text
    assert "cancelled" in (await ada.ask("status", run_name="mine")).text
    assert "Download" in (await ada.card("mine")).buttons
    refused = await ada.refused("resume", run_name=second)
    assert "has finished" in refused


async def test_missing_and_running_runs_cannot_be_resumed(
    ada: Chat, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.5")
    await ada.ask("dataset add", name="annika", zip=archive)
    await ada.ask("train", model=T2V, dataset="annika", name="mine")
    card = await ada.card("mine")

    assert "no run called" in await ada.refused("resume", run_name="nobody")
    assert "mine" in await ada.refused("resume", run_name="mine")
    with pytest.raises(NotFoundError, match="no such button"):
        await ada.user.press(card, "Resume")

    await ada.ask("cancel", run_name="mine")
    await ada.ping("mine")


async def no_wait(shard_id: int | None, *, initial: bool = False) -> None:
    """Replace the library's five seconds before a second IDENTIFY."""


@pytest.mark.slow
async def test_a_run_that_ends_in_an_outage_is_announced_once_afterwards(
    ada: Chat,
    bot: RunningBot,
    server: SandboxServer,
    local: LocalInstallation,
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bot.client, "before_identify_hook", no_wait)
    await ada.ask("dataset add", name="annika", zip=archive)
    await ada.ask("train", model=T2V, dataset="annika", epochs="1", name="mine")
    before = await ada.card("mine")

    server.faults.outage(is_on=True)
    server.gateway.sessions.clear()  # as after an hour: too old to be resumed
    guild = local.guilds()[0]
    ended = await asyncio.to_thread(wait_for_end, local, guild, "mine")
    server.faults.outage(is_on=False)

    ping = await ada.ping("mine")
    after = await ada.card("mine", lambda m: "succeeded" in m.text)
    assert ended is RunStatus.SUCCEEDED
    assert after.id == before.id
    pings = [m for m in await ada.user.messages() if m.mentions and " mine " in m.content]
    assert [m.id for m in pings] == [ping.id]


@pytest.mark.slow
async def test_a_deleted_card_is_posted_again_and_a_deleted_channel_stops_no_run(
    ada: Chat,
    cleo_elsewhere: Chat,
    server: SandboxServer,
    local: LocalInstallation,
    archive: Path,
    held: Path,
) -> None:
    for chat, name in ((ada, "mine"), (cleo_elsewhere, "theirs")):
        await chat.ask("dataset add", name="annika", zip=archive)
        await chat.ask("train", model=T2V, dataset="annika", epochs="1", name=name)
    first, other = await ada.card("mine"), await cleo_elsewhere.card("theirs")

    server.faults.delete_message(first.id)
    server.faults.delete_channel(other.channel_id)
    await asyncio.to_thread(held.unlink)

    second = await ada.card("mine", lambda m: m.id != first.id and "succeeded" in m.text)
    assert list(second.buttons) == ["Details", "Log", "Download", "Train again"]
    await ada.ping("mine")
    for guild, run in zip(local.guilds(), ("mine", "theirs"), strict=True):
        end = await asyncio.to_thread(wait_for_end, local, guild, run)
        assert end is RunStatus.SUCCEEDED


async def test_a_resumed_run_keeps_the_gpu_of_the_old_one(
    ada: Chat, archive: Path, local: LocalInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.5")
    live = replace(listed_prices(), day=date(2026, 11, 25), is_live=True)
    local.runtime = replace(local.runtime, prices=lambda: live)
    monkeypatch.setattr(local.runs, "_runtime", local.runtime)
    await ada.ask("dataset add", name="annika", zip=archive)
    offered = await ada.user.autocomplete("train", "gpu", "h2", {"model": T2V})

    plan = await ada.ask("train", model=T2V, dataset="annika", name="mine", gpu="h200")
    await ada.card("mine", lambda m: "Chosen GPU: H200" in m.text)
    await ada.ask("cancel", run_name="mine")
    await ada.ping("mine")
    second = str((await ada.ask("resume", run_name="mine")).embeds[0]["title"])
    await ada.card(second, lambda m: "Chosen GPU: H200" in m.text)

    assert [(c.name, c.value) for c in offered] == [("H200 ($4.54/h, live)", "H200")]
    assert "on an H200 (unmeasured, rough; live prices of 2026-11-25)" in plan.text
    assert local.runs.view(local.guilds()[0], second).spec.gpu == "H200"
    await ada.ask("cancel", run_name=second)
