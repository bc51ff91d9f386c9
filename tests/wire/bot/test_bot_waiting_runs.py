"""What chat says of a run that cannot start, such as when Modal's spend limit is reached."""

from pathlib import Path

import pytest

from tests.wire.bot.chat import Chat
from training.backends.local.queue import LocalBackend

REACHED = "The spend limit of the workspace on Modal is reached. Raise the limit at modal.com."


def is_reached(_backend: LocalBackend) -> str:
    return REACHED


@pytest.mark.usefixtures("no_worker")
async def test_the_card_status_and_runs_say_why_a_run_waits(
    ada: Chat, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)

    with monkeypatch.context() as limited:
        limited.setattr(LocalBackend, "obstacle", is_reached)
        await ada.ask("train", model="wan21-t2v-1-3b", dataset="annika", name="mine")
        card = await ada.card("mine", lambda message: "Waiting:" in message.text)
        status = await ada.ask("status", run_name="mine")
        runs = await ada.ask("runs")
    await ada.card("mine", lambda message: "Waiting:" not in message.text)

    for message in (card, status, runs):
        assert f"Waiting: {REACHED}" in message.text
        assert "queued" in message.text
