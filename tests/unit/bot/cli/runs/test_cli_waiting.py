"""What the command line says of a run that cannot start because the spend limit is reached."""

from pathlib import Path

import modal.exception
import pytest

from bot.hosting.local import LocalInstallation
from tests.lorabot import Lorabot
from training.backends.local.queue import LocalBackend
from training.backends.modal.errors import start_delayed

LOOKS = 4
REACHED = str(
    start_delayed(
        modal.exception.ResourceExhaustedError("workspace billing cycle spend limit reached")
    )
)


def words(printed: str) -> str:
    """Return what was printed, without the breaks of its lines."""
    return " ".join(printed.split())


@pytest.fixture(autouse=True)
def _limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no stage start, and a person stop following the run after some looks at it."""
    looks = 0

    def look(_local: LocalInstallation) -> None:
        nonlocal looks
        looks += 1
        if looks > LOOKS:
            raise KeyboardInterrupt

    def is_reached(_backend: LocalBackend) -> str:
        return REACHED

    def no_pause(_seconds: float) -> None:
        pass

    monkeypatch.setattr(LocalInstallation, "ensure_worker", look)
    monkeypatch.setattr(LocalBackend, "obstacle", is_reached)
    monkeypatch.setattr("bot.cli.runs.train.time.sleep", no_pause)


def test_train_says_once_that_it_waits_and_runs_says_it_again(here: Lorabot, archive: Path) -> None:
    train = here.run("train", "--model", "wan21-t2v-1-3b", "--dataset", str(archive))
    runs = here.run("runs")

    assert "The spend limit of the workspace on Modal is reached." in REACHED
    assert "modal.com/settings/usage" in REACHED
    assert "continues by itself" in REACHED
    assert words(train.stdout).count(f"Waiting: {REACHED}") == 1
    assert "continues. Follow it with lorabot runs" in words(train.stdout)
    assert "queued" in runs.stdout
    assert f"Waiting: {REACHED}" in words(runs.stdout)
