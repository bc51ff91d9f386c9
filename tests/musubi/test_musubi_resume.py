"""The real trainer, interrupted and not: the same names, steps, learning rates and weights."""

import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.musubi.checkout import ITEMS, Checkout, Outcome, names, tensors
from training.catalogue.models import find_model
from training.musubi.state import read_state
from training.runs.training_events import (
    ProgressEvent,
    StateSaved,
    StepDone,
    Stopped,
    Warned,
)

pytestmark = [pytest.mark.musubi, pytest.mark.timeout(900)]

MODEL = find_model("wan21-t2v-1-3b")
EXPERT = MODEL.expert("main")
STEPS = 3 * ITEMS
RESULTS = ("lora-000001.safetensors", "lora-000002.safetensors", "lora.safetensors")


@pytest.fixture(scope="module")
def whole(checkout: Checkout, caches: Path) -> tuple[Path, Outcome]:
    folder = checkout.root / "whole"
    command = checkout.train(MODEL, EXPERT, caches, folder)
    return folder, checkout.run(command, checkout.root / "whole.log")


def at_step(step: int, act: Callable[[], None] = lambda: None) -> Callable[[ProgressEvent], bool]:
    def reached(event: ProgressEvent) -> bool:
        if isinstance(event, StepDone) and event.step == step:
            act()
            return True
        return False

    return reached


def newest_state(folder: Path) -> Path:
    states = [path.parent for path in folder.glob("lora*-state/training_state.json")]
    return max(states, key=lambda path: read_state(path).step)


def test_an_uninterrupted_training_leaves_musubis_files_and_reports_each(
    whole: tuple[Path, Outcome],
) -> None:
    folder, outcome = whole

    assert names(folder) == sorted(
        [*RESULTS, "lora-000001-state", "lora-000002-state", "lora-state"]
    )
    assert [step[0] for step in outcome.steps] == list(range(1, STEPS + 1))
    assert not [event for event in outcome.events if isinstance(event, Warned)]


def test_the_launcher_trains_what_musubi_trains_without_it(
    checkout: Checkout, caches: Path, whole: tuple[Path, Outcome]
) -> None:
    plain = checkout.plain(
        checkout.train(MODEL, EXPERT, caches, checkout.root / "plain"), checkout.root / "plain.log"
    )

    assert plain == 0
    assert names(checkout.root / "plain") == names(whole[0])
    for name in RESULTS:
        assert tensors(checkout.root / "plain" / name) == tensors(whole[0] / name)


def test_adafactor_takes_the_same_rates(
    checkout: Checkout, caches: Path, whole: tuple[Path, Outcome], tmp_path: Path
) -> None:
    command = checkout.train(MODEL, EXPERT, caches, tmp_path)
    settings = command.settings.model_copy(update={"optimizer": "adafactor"})

    outcome = checkout.run(replace(command, settings=settings), tmp_path / "log")

    assert [step[-1] for step in outcome.steps] == [step[-1] for step in whole[1].steps]


def test_a_training_stopped_at_any_step_goes_on_to_the_same_end(
    checkout: Checkout, caches: Path, whole: tuple[Path, Outcome], tmp_path: Path
) -> None:
    step = random.Random().randrange(1, STEPS - 1)
    command = checkout.train(MODEL, EXPERT, caches, tmp_path)
    first = checkout.run(command, tmp_path / "a.log", until=at_step(step))
    assert first.is_interrupted
    assert not _processes(str(tmp_path))
    stopped = first.events[-1]
    assert isinstance(stopped, Stopped)
    state = newest_state(tmp_path)
    assert read_state(state).step == stopped.step

    resumed = checkout.train(MODEL, EXPERT, caches, tmp_path, state)
    second = checkout.run(resumed, tmp_path / "b.log")

    assert not second.is_interrupted
    assert [*first.steps, *second.steps] == whole[1].steps, f"stopped after step {stopped.step}"
    for name in (*RESULTS, "lora-state/model.safetensors"):
        assert tensors(tmp_path / name) == tensors(whole[0] / name), name


def test_a_killed_training_loses_only_what_came_after_its_newest_state(
    checkout: Checkout, caches: Path, whole: tuple[Path, Outcome], tmp_path: Path
) -> None:
    command = checkout.train(MODEL, EXPERT, caches, tmp_path / "out")
    log = tmp_path / "a.log"
    kill = lambda: os.kill(_trainer(str(tmp_path / "out")), signal.SIGKILL)  # noqa: E731
    first = checkout.run(command, log, state_seconds=0.0001, until=at_step(ITEMS + 2, kill))
    assert first.is_interrupted
    state = newest_state(tmp_path / "out")
    reached = read_state(state).step
    assert reached >= ITEMS + 1  # each step saved a state, and the killed one may have, too
    assert len([e for e in first.events if isinstance(e, StateSaved)]) >= ITEMS + 1

    resumed = checkout.train(MODEL, EXPERT, caches, tmp_path / "out", state)
    second = checkout.run(resumed, tmp_path / "b.log")

    assert [*first.steps[:reached], *second.steps] == whole[1].steps
    assert names(tmp_path / "out") == names(whole[0])
    for name in RESULTS:
        assert tensors(tmp_path / "out" / name) == tensors(whole[0] / name), name


def test_resuming_from_an_epochs_state_ends_the_same(
    checkout: Checkout, caches: Path, whole: tuple[Path, Outcome], tmp_path: Path
) -> None:
    shutil.copytree(whole[0] / "lora-000001-state", tmp_path / "state")
    command = checkout.train(MODEL, EXPERT, caches, tmp_path / "out", tmp_path / "state")

    outcome = checkout.run(command, tmp_path / "log")

    assert outcome.steps == whole[1].steps[ITEMS:]
    for name in RESULTS[1:]:
        assert tensors(tmp_path / "out" / name) == tensors(whole[0] / name), name


def _trainer(folder: str) -> int:
    """Return the process that trains into a folder: the one that started its data loaders."""
    return min(_processes(folder))


def _processes(folder: str) -> list[int]:
    """Return the processes with a folder on their command line."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        if folder in words:
            found.append(int(path.parent.name))
    return found
