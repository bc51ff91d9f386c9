"""A disk that is full for a while delays a run, and loses and repeats nothing."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.messages.runs.card import run_card
from bot.settings import Settings
from tests.pipeline.disk import crowded, disk_with_quota, filled, small_disk
from tests.pipeline.home import DEADLINE_SECONDS, GUILD, Home
from tests.pipeline.stages import IdleRuntime
from training.operations.run_drafts import Requester
from training.pipeline.advance import lease_name
from training.pipeline.run_view import metrics
from training.runs.spec import TrainRequest
from training.runs.state import RunStatus
from training.store_keys import RunKeys
from training.vocabulary import StageKey

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk needs root")
TRAIN = StageKey("train", "main")
NOW = datetime(2026, 11, 30, tzinfo=UTC)
REQUEST = TrainRequest(model="wan21-t2v-1-3b", dataset="annika")


@pytest.fixture
def small(tmp_path: Path, stocked: Path) -> Iterator[Path]:
    """Return a home with the dataset on a disk of its own."""
    home = tmp_path / "small"
    with small_disk(home, "64m", files=4000):
        shutil.copytree(stocked, home, dirs_exist_ok=True)
        yield home


def files(home: Path) -> set[str]:
    """Return the files in the store."""
    found = (path for path in home.glob("*/**/*") if path.is_file())
    return {path.relative_to(home).as_posix() for path in found}


@pytest.mark.parametrize("use_up", [filled, crowded])
def test_a_request_refused_for_space_stores_no_run(
    small: Path, use_up: Callable[[Path], AbstractContextManager[None]]
) -> None:
    local = IdleRuntime(Settings(home=small))
    requester = Requester(guild=GUILD, by="7", channel="5", token="t1")
    before = files(small)

    with use_up(small):
        with pytest.raises(OSError, match="No space"):
            local.runs.start(REQUEST, requester, "rehearsal")
        left = files(small)
    stored = local.runs.start(REQUEST, requester, "rehearsal")

    assert left == before
    assert local.runs.names(GUILD) == [stored.name]


@pytest.mark.skipif(shutil.which("mkfs.btrfs") is None, reason="a quota needs mkfs.btrfs")
def test_the_card_says_that_a_quota_is_used_up_until_there_is_room(
    tmp_path: Path, stocked: Path
) -> None:
    home = tmp_path / "disk" / "home"
    with disk_with_quota(home, "64m"):
        shutil.copytree(stocked, home, dirs_exist_ok=True)
        local = IdleRuntime(Settings(home=home))
        requester = Requester(guild=GUILD, by="7", channel="5", token="t1")
        run = local.runs.start(REQUEST, requester, "rehearsal").name

        with filled(home):
            short = run_card(local.runs.view(GUILD, run), now=NOW)
        free = run_card(local.runs.view(GUILD, run), now=NOW)

    assert "quota is used up" in short.description
    assert "quota" not in free.description


@pytest.mark.slow
def test_a_full_disk_during_training_only_delays_what_is_told(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORABOT_STEP_DELAY", "0.4")
    home = Home(LocalInstallation(Settings(home=small)))
    try:
        run = home.start(epochs="6", save_every="6").name
        home.until(run, lambda view: view.expert("main").step > 0)
        with filled(small):
            said = home.view(run).obstacle or ""
            _wait_for_a_renewal(home, run)
        view = home.finish(run)
    finally:
        home.local.stop_worker()
        for process in home.processes():
            process.kill()

    assert "disk is full" in said
    assert view.obstacle is None
    assert view.run.status is RunStatus.SUCCEEDED
    assert view.run.stage(TRAIN).attempt == 1
    total = view.expert("main").total_steps
    assert [metric.step for metric in metrics(home.local.runtime, view.spec, "main")] == list(
        range(1, total + 1)
    )
    events = home.local.runtime.store.path(RunKeys(GUILD, run).events)
    assert (events / f"{TRAIN}-1.jsonl").read_bytes().count(b'"epoch"') >= 6


def _lease(home: Home, run: str) -> bytes:
    name = lease_name(GUILD, run, TRAIN).encode()
    files = (path.read_bytes() for path in (home.local.home / "leases").iterdir())
    return next(data for data in files if name in data)


def _wait_for_a_renewal(home: Home, run: str) -> None:
    """Wait until the train stage has renewed its lease, as it does every few seconds."""
    before, deadline = _lease(home, run), time.monotonic() + DEADLINE_SECONDS
    while _lease(home, run) == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
