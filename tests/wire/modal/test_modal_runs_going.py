"""What happens around runs that are going on Modal: deploys, ticks, expiry, a full Volume."""

import asyncio
import os
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from modal_proto import api_pb2

from storage.modal.mounts import TEMPORARY
from tests.wire.modal.installation import REQUESTER, Installation
from tests.wire.modal.invariants import check, executions, saved_steps, started_attempts
from tests.wire.modal.loopback.rpc import Caller
from tests.wire.modal.loopback.trees import scan
from training.runs.state import Run, RunStatus, StageStatus
from training.store_keys import Area
from training.vocabulary import StageKey, StageName

pytestmark = pytest.mark.slow
TRAIN = StageKey("train", "main")
EVENTS_BYTES = 60_000  # room for what a run tells of itself, not for a checkpoint


def trains(run: Run) -> bool:
    return run.stage(TRAIN).status is StageStatus.RUNNING


def test_two_runs_go_on_while_the_stages_are_deployed_again(installation: Installation) -> None:
    runs = [installation.start(held="training") for _ in range(2)]
    for run in runs:
        installation.until(run, trains)
    old = {its.definition_id for its in installation.loopback.containers("train_small")}

    installation.deploy()
    installation.hurry()
    found = [installation.finish(run) for run in runs]

    assert [run.status for run in found] == [RunStatus.SUCCEEDED] * 2
    for run in runs:
        assert started_attempts(installation, run, TRAIN) == [1]
    publishing = installation.loopback.containers("publish", ended=True)
    assert len(publishing) == 2
    assert not old & {its.definition_id for its in publishing}
    check(installation, *runs)


def test_many_ticks_at_once_start_nothing_twice(installation: Installation) -> None:
    with ticking_at_every_write(installation, times=3) as ticks:
        run = installation.start()
        found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    assert len(ticks) > 3 * len(found.stages)
    assert {stage.attempt for stage in found.stages.values()} == {1}
    worked = [its.stage for its in executions(installation) if its.call.run == run and its.worked]
    assert len(worked) == len(set(worked)) == len(found.stages)
    check(installation, run)


@contextmanager
def ticking_at_every_write(installation: Installation, times: int) -> Generator[list[str]]:
    """Let some ticks come with each write to a Volume; yield what the ticks came with."""
    ticks: list[str] = []

    async def tick(name: str, _caller: Caller) -> None:
        if name in ("VolumePutFiles", "VolumeCommit"):
            for _ in range(times):
                ticks.append(name)
                await asyncio.to_thread(installation.tick)

    listeners = installation.loopback.plane.router.listeners
    listeners.append(tick)
    try:
        yield ticks
    finally:
        listeners.remove(tick)


def test_expired_results_change_nothing_for_running_and_ended_stages(
    installation: Installation,
) -> None:
    run = installation.start(held="training")
    installation.until(run, trains)

    installation.loopback.expire_results()
    installation.tick()
    installation.hurry()
    found = installation.finish(run)
    installation.loopback.expire_results()
    installation.tick()
    installation.settle()

    assert found.status is RunStatus.SUCCEEDED
    assert {stage.attempt for stage in found.stages.values()} == {1}
    assert installation.run(run) == found
    check(installation, run)


def test_a_stage_that_was_killed_long_ago_is_found_though_its_result_has_expired(
    installation: Installation,
) -> None:
    run = installation.start(held="training")
    installation.until(run, trains)

    installation.kill(run, TRAIN)
    installation.hurry()
    installation.loopback.expire_results()
    installation.tick()
    found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    assert started_attempts(installation, run, TRAIN) == [1, 2]
    check(installation, run)


def test_a_full_volume_is_named_as_the_cause_and_the_run_can_be_resumed(
    installation: Installation,
) -> None:
    volume = installation.deployment.volume("runs")
    run = installation.start(held="training", epochs="4")
    installation.until(run, lambda _: saved_steps(installation, run, 1))
    used = sum(max(0, stamp.size) for stamp in scan(installation.committed("runs")).values())
    installation.loopback.set_volume_limit(volume, used + EVENTS_BYTES)
    installation.hurry()
    failed = installation.finish(run)
    installation.loopback.set_volume_limit(volume, None)

    spec = installation.runs.resume(run, REQUESTER)
    resumed = installation.finish(spec.name)

    assert failed.status is RunStatus.FAILED
    assert "Volume on Modal is full" in failed.cause
    assert "disk space" in failed.fix
    assert failed.expert("main").checkpoints
    assert resumed.status is RunStatus.SUCCEEDED
    check(installation, run, spec.name)


def test_a_spend_limit_makes_runs_wait_and_they_continue_afterwards(
    installation: Installation,
) -> None:
    settings = installation.loopback.settings
    settings.is_spend_limit_reached = True
    run = installation.start(epochs="1")
    waiting = installation.view(run)
    listed = installation.runs.summaries(waiting.spec.guild)[0]
    settings.is_spend_limit_reached = False
    installation.tick()

    found = installation.finish(run)

    assert waiting.run.status is RunStatus.QUEUED
    assert "spend limit" in (waiting.obstacle or "")
    assert "spend limit" in (listed.error or "")
    assert found.status is RunStatus.SUCCEEDED
    assert installation.view(run).obstacle is None
    check(installation, run)


def test_the_nightly_clean_up_spares_what_people_made(installation: Installation) -> None:
    run = installation.start()
    found = installation.finish(run)
    before = sorted(its.name for its in installation.checkpoints(run).iterdir())
    left = installation.committed("runs") / TEMPORARY / "cut-off" / "new"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x")
    os.utime(left, (0, 0))

    call = installation.loopback.fire_cron("clean_up")
    installation.settle()

    (its,) = installation.loopback.plane.calls.calls[call].inputs
    assert its.output is not None
    assert its.output.result.status == api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
    assert not left.exists()
    assert sorted(its.name for its in installation.checkpoints(run).iterdir()) == before
    assert installation.run(run) == found
    check(installation, run)


@pytest.mark.parametrize(
    ("area", "model", "stage"),
    [("models", "wan21-i2v-720p", "fetch"), ("datasets", "wan21-i2v-480p", "cache")],
)
def test_a_full_volume_of_rebuildable_files_is_named_and_costs_nothing_else(
    installation: Installation, area: Area, model: str, stage: StageName
) -> None:
    volume = installation.deployment.volume(area)
    used = sum(max(0, stamp.size) for stamp in scan(installation.committed(area)).values())
    installation.loopback.set_volume_limit(volume, used + 1000)
    run = installation.start(model)
    failed = installation.finish(run)
    installation.loopback.set_volume_limit(volume, None)

    spec = installation.runs.resume(run, REQUESTER)
    resumed = installation.finish(spec.name)

    assert failed.stage(StageKey(stage)).status is StageStatus.FAILED
    assert "Volume on Modal is full" in failed.cause
    assert "disk space" in failed.fix
    assert resumed.status is RunStatus.SUCCEEDED
    check(installation, run, spec.name)
