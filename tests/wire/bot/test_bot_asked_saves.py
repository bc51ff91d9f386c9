"""Save now and Stop here, pressed below the card of a run that trains."""

import asyncio
from pathlib import Path

import pytest

from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Message
from tests.wire.bot.chat import Chat
from tests.wire.bot.processes import SLOW
from training.rehearsal.hold import TRAINING

T2V = "wan21-t2v-1-3b"


def is_on(label: str, message: Message) -> bool:
    return label in message.buttons and not message.buttons[label].get("disabled")


async def press(chat: Chat, card: Message, label: str) -> str:
    return (await chat.user.reply(await chat.user.press(card, label))).text


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hold trainings, once they have saved a state, for as long as this file exists."""
    file = tmp_path / "hold"
    file.touch()
    monkeypatch.setenv(TRAINING, str(file))
    monkeypatch.setenv("LORABOT_STATE_SECONDS", "0.000001")
    monkeypatch.setenv(SLOW, "0.05")  # so that it still trains when the request arrives
    return file


async def test_a_run_saves_when_asked_and_ends_as_finished_where_it_is_stopped(
    held: Path, ada: Chat, ben: Chat, bot: RunningBot, local: LocalInstallation, archive: Path
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    await ada.ask("train", model=T2V, dataset="annika", epochs="100", name="mine")
    card = await ada.card("mine", lambda m: is_on("Stop here, keep all", m))

    refused = await press(ben, card, "Save now")
    asked = await press(ada, card, "Save now")
    # Twice before the card is redrawn.
    stops = await asyncio.gather(*[press(ada, card, "Stop here, keep all") for _ in range(2)])
    shown = await ada.card("mine", lambda m: "stopping here" in m.title)
    await asyncio.to_thread(held.unlink)
    ping = await ada.ping("mine")
    end = await ben.card("mine", lambda m: "succeeded" in m.title)

    assert "belongs to somebody else" in refused
    assert "saves a checkpoint" in asked
    accepted = [text for text in stops if "All checkpoints are kept" in text]
    assert accepted
    assert all("has already ended or is about to" in text for text in stops if text not in accepted)
    assert shown.buttons["Save now"]["disabled"]
    assert "succeeded" in ping.content
    assert "Stopped on request in epoch " in end.text
    run = local.runs.view(local.guilds()[0], "mine").run
    assert run.expert("main").checkpoints[-1].is_final
    assert run.expert("main").epoch < 100


async def test_a_run_that_is_asked_to_save_goes_on(
    held: Path, ada: Chat, bot: RunningBot, local: LocalInstallation, archive: Path
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    rare = {"epochs": "100", "save_every": "100"}  # so that only the request saves
    await ada.ask("train", model=T2V, dataset="annika", name="mine", **rare)
    card = await ada.card("mine", lambda m: is_on("Save now", m))

    await press(ada, card, "Save now")
    await asyncio.to_thread(held.unlink)
    saved = await ada.card("mine", lambda m: "1 checkpoint, newest: epoch" in m.text)
    await ada.user.reply(await ada.user.press(saved, "Cancel"))
    await ada.ping("mine")

    (file,) = local.runs.view(local.guilds()[0], "mine").run.expert("main").checkpoints
    assert "-step0000" in file.file
    assert not file.is_final
