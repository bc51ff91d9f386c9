"""Going on with a cancelled run, by command and by button, and what cannot be gone on with."""

import asyncio
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from bot.sandbox.server import SandboxServer
from tests.wire.bot.chat import Chat
from training.errors import NotFoundError
from training.estimates.prices import listed_prices
from training.runs.state import RunStatus

T2V = "wan21-t2v-1-3b"
SLOW = "LORABOT_STEP_DELAY"


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
    assert "what was saved is kept" in (await ada.ping(run)).content


def wait_for_end(local: LocalInstallation, guild: str, run: str) -> RunStatus:
    """Wait in a thread, where no event tells of the end."""
    deadline = time.monotonic() + 60
    while not (status := local.runs.view(guild, run).run.status).is_final:
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    return status


@pytest.mark.slow
async def test_a_cancelled_run_is_resumed_by_command_and_by_button(
    ada: Chat, ben: Chat, archive: Path, local: LocalInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.2")
    await ada.ask("dataset add", name="annika", zip=archive)
    await start_and_cancel(ada, "mine", button=True)
    cancelled = await ada.card("mine", lambda m: "Resume" in m.buttons)
    monkeypatch.setenv(SLOW, "0")
    names = [c.value for c in await ada.user.autocomplete("resume", "run-name", "mi")]

    by_command = await ada.ask("resume", run_name="mine")
    second = str(by_command.embeds[0]["title"])
    too_soon = await ben.user.reply(await ben.user.press(cancelled, "Resume"))
    await ada.ping(second)
    by_button = await ben.user.reply(await ben.user.press(cancelled, "Resume"))
    third = str(by_button.embeds[0]["title"])
    ping = await ben.ping(third)

    assert list(cancelled.buttons) == ["Download", "Resume"]
    assert names == ["mine"]
    assert f"{second} continues mine already." in too_soon.text
    assert len({"mine", second, third}) == 3
    assert ping.mentions == ["Ben"]
    for run in (second, third):
        card = await ada.card(run, lambda m: "succeeded" in m.text)
        assert "Goes on from the run **mine**" in card.text
        assert list(card.buttons) == ["Download"]
        assert "final, epoch 6" in card.text
    assert "cancelled" in (await ada.ask("status", run_name="mine")).text
    assert "Download" in (await ada.card("mine")).buttons
    refused = await ada.refused("resume", run_name=second)
    assert "succeeded" in refused
    assert local.runs.view(local.guilds()[0], third).spec.continues == "mine"


async def test_what_is_not_there_or_still_runs_cannot_be_resumed(
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
async def test_a_run_that_ends_in_an_outage_is_told_once_afterwards(
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
async def test_a_deleted_card_is_posted_anew_and_a_deleted_channel_stops_no_run(
    ada: Chat, cleo_elsewhere: Chat, server: SandboxServer, local: LocalInstallation, archive: Path
) -> None:
    for chat in (ada, cleo_elsewhere):
        await chat.ask("dataset add", name="annika", zip=archive)
        await chat.ask("train", model=T2V, dataset="annika", epochs="1", name="mine")
    first, other = await ada.card("mine"), await cleo_elsewhere.card("mine")

    server.faults.delete_message(first.id)
    server.faults.delete_channel(other.channel_id)

    second = await ada.card("mine", lambda m: m.id != first.id and "succeeded" in m.text)
    assert list(second.buttons) == ["Download"]
    await ada.ping("mine")
    ends = [await asyncio.to_thread(wait_for_end, local, g, "mine") for g in local.guilds()]
    assert ends == [RunStatus.SUCCEEDED, RunStatus.SUCCEEDED]


async def test_a_run_that_goes_on_asks_for_the_gpu_of_the_old_one(
    ada: Chat, archive: Path, local: LocalInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.5")
    live = replace(listed_prices(), day=date(2026, 11, 25), is_live=True)
    local.runtime = replace(local.runtime, prices=lambda: live)
    await ada.ask("dataset add", name="annika", zip=archive)
    offered = await ada.user.autocomplete("train", "gpu", "h2", {"model": T2V})

    plan = await ada.ask("train", model=T2V, dataset="annika", name="mine", gpu="h200")
    await ada.card("mine", lambda m: "GPU asked for: H200" in m.text)
    await ada.ask("cancel", run_name="mine")
    await ada.ping("mine")
    second = str((await ada.ask("resume", run_name="mine")).embeds[0]["title"])
    await ada.card(second, lambda m: "GPU asked for: H200" in m.text)

    assert [(c.name, c.value) for c in offered] == [("H200 ($4.54/h, live)", "H200")]
    assert "on an H200, its speed not measured, live prices of 2026-11-25" in plan.text
    assert local.runs.view(local.guilds()[0], second).spec.gpu == "H200"
    await ada.ask("cancel", run_name=second)
