"""The worker advances every run, whatever the state of the others, and repeats no complaint."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.hosting.worker import Tick
from bot.settings import Settings
from tests.damage import empty, flip_a_bit
from tests.many_runs import TRAIN, Crowd
from training.pipeline.runtime import Runtime
from training.runs.spec import RunSpec
from training.runs.state import RunStatus

GUILD = "1"


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return LocalInstallation(Settings(home=tmp_path)).runtime


@pytest.fixture
def crowd(tmp_path: Path) -> Crowd:
    return Crowd(tmp_path, GUILD, owner="7")


def events_of(runtime: Runtime, spec: RunSpec, writer: str) -> Path:
    return runtime.store.path(f"{spec.keys.events}/{writer}.jsonl")


def garble_a_line(path: Path) -> None:
    flip_a_bit(path, at=0)


@pytest.mark.parametrize("writer", [f"{TRAIN}-1", "advance-1", "prepare-1"])
def test_a_run_with_a_damaged_event_file_ends_with_its_cause(
    runtime: Runtime, crowd: Crowd, writer: str
) -> None:
    spec = crowd.add_live(0, "5")
    garble_a_line(events_of(runtime, spec, writer))

    found = Tick(runtime)()

    run = runtime.log(GUILD, spec.name).load()
    assert (found, Tick(runtime)()) == (1, 0)
    assert run.status is RunStatus.FAILED
    assert f"({writer}.jsonl)" in run.cause
    assert run.remedy is not None


@pytest.mark.parametrize("damage", [empty, flip_a_bit])
def test_a_run_with_an_unreadable_spec_is_logged_once_and_stops_no_other(
    runtime: Runtime,
    crowd: Crowd,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, good = crowd.add_live(0, "5"), crowd.add_live(1, "5")
    damage(runtime.store.path(bad.keys.spec))
    garble_a_line(events_of(runtime, good, "advance-1"))
    tick = Tick(runtime)

    with caplog.at_level(logging.ERROR, logger="bot.hosting.worker"):
        for _ in range(3):
            tick()

    assert runtime.log(GUILD, good.name).load().status is RunStatus.FAILED
    assert [bool(line.exc_info) for line in caplog.records] == [False]
    assert "live-0: cannot be advanced: " in caplog.text


def test_the_end_of_a_run_is_told_once(runtime: Runtime, crowd: Crowd) -> None:
    ended, spec = list[tuple[str, str]](), crowd.add_live(0, "5")
    garble_a_line(events_of(runtime, spec, "advance-1"))
    tick = Tick(runtime, lambda guild, run: ended.append((guild, run)))

    counts = [tick() for _ in range(3)]

    assert counts == [1, 0, 0]
    assert ended == [(GUILD, spec.name)]
