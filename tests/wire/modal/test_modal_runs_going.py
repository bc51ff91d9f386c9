"""What happens around runs that are going on Modal: deploys, ticks, expiry, a full Volume."""

import os

import pytest
from modal_proto import api_pb2

from storage.modal.mounts import TEMPORARY
from tests.wire.modal.installation import REQUESTER, Installation
from tests.wire.modal.invariants import check, executions, saved_steps, started_attempts
from tests.wire.modal.loopback.trees import scan
from training.runs.state import Run, RunStatus, StageStatus
from training.store_keys import Area
from training.vocabulary import StageKey, StageName

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TRAIN = StageKey("train", "main")
EVENTS_BYTES = 60_000  # room for what a run tells of itself, not for a checkpoint


def trains(run: Run) -> bool:
    return run.stage(TRAIN).status is StageStatus.RUNNING


def test_two_runs_go_on_while_the_stages_are_deployed_again(installation: Installation) -> None:
    runs = [installation.start(delay=0.5) for _ in range(2)]
    for run in runs:
        installation.until(run, trains)
    old = {its.definition_id for its in installation.loopback.containers("train_small")}

    installation.deploy()
    found = [installation.finish(run) for run in runs]

    assert [run.status for run in found] == [RunStatus.SUCCEEDED] * 2
    for run in runs:
        assert started_attempts(installation, run, TRAIN) == [1]
    publishing = installation.loopback.containers("publish", ended=True)
    assert len(publishing) == 2
    assert not old & {its.definition_id for its in publishing}
    check(installation, *runs)


def test_many_ticks_at_once_start_nothing_twice(installation: Installation) -> None:
    run, seen = installation.start(), set[str]()

    def tick_at_every_change(run: Run) -> bool:
        state = str({key: stage.status for key, stage in run.stages.items()})
        if state not in seen:
            seen.add(state)
            for _ in range(3):
                installation.tick()
        return run.status.is_final

    found = installation.until(run, tick_at_every_change)

    assert found.status is RunStatus.SUCCEEDED
    assert len(seen) > 4
    assert {stage.attempt for stage in found.stages.values()} == {1}
    worked = [its.stage for its in executions(installation) if its.call.run == run and its.worked]
    assert len(worked) == len(set(worked)) == len(found.stages)
    check(installation, run)


def test_results_that_expire_change_nothing_for_stages_that_run_or_are_over(
    installation: Installation,
) -> None:
    run = installation.start(delay=0.5)
    installation.until(run, trains)

    installation.loopback.expire_results()
    installation.tick()
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
    run = installation.start(delay=0.5)
    installation.until(run, trains)

    installation.kill(run, TRAIN)
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
    run = installation.start(delay=0.5, epochs="4")
    installation.until(run, lambda _: saved_steps(installation, run, 1))
    used = sum(max(0, stamp.size) for stamp in scan(installation.committed("runs")).values())
    installation.loopback.set_volume_limit(volume, used + EVENTS_BYTES)
    failed = installation.finish(run)
    installation.loopback.set_volume_limit(volume, None)
    installation.hurry()

    spec = installation.runs.resume(run, REQUESTER)
    resumed = installation.finish(spec.name)

    assert failed.status is RunStatus.FAILED
    assert "Volume on Modal is full" in failed.cause
    assert "disk space" in failed.fix
    assert failed.expert("main").checkpoints
    assert resumed.status is RunStatus.SUCCEEDED
    check(installation, run, spec.name)


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
def test_a_full_volume_of_what_can_be_made_again_is_named_and_costs_nothing_else(
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
