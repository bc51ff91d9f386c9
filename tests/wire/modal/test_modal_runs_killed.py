"""What is preempted or killed in the middle of a run on Modal: the next attempt goes on."""

import pytest

from tests.wire.modal.faults import kill_after
from tests.wire.modal.installation import Installation
from tests.wire.modal.invariants import check, executions, started_attempts
from training.events import StageKey, StageStarted, StateSaved
from training.run import Run, RunStatus, StageStatus

pytestmark = pytest.mark.slow
TRAIN = StageKey("train", "main")


def has_saved_and_gone_on(run: Run) -> bool:
    return bool(run.expert("main").checkpoints)


def resumed_step(installation: Installation, run: str, attempt: int) -> int:
    """Return the step that an attempt went on from; 0 when it began anew."""
    found = (its for its in installation.events(run) if isinstance(its, StageStarted))
    steps = [its.resumed_step for its in found if (its.key, its.attempt) == (TRAIN, attempt)]
    return max(step or 0 for step in steps)


def saved_steps(installation: Installation, run: str, attempt: int) -> list[int]:
    """Return the steps of the training states that an attempt saved."""
    found = (its for its in installation.events(run) if isinstance(its, StateSaved))
    return [its.step for its in found if its.attempt == attempt]


def test_a_preempted_training_saves_its_state_and_the_next_attempt_goes_on(
    installation: Installation,
) -> None:
    run = installation.start(delay=0.3, epochs="3")
    installation.until(run, has_saved_and_gone_on)

    installation.loopback.preempt(installation.worker(run, TRAIN))
    found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    assert started_attempts(installation, run, TRAIN) == [1, 2]
    # Saved when it was told to leave: not one step is taken again.
    assert resumed_step(installation, run, 2) == max(saved_steps(installation, run, 1))
    assert [its.returned for its in executions(installation) if its.stage == (run, TRAIN)][-1] == (
        "succeeded"
    )
    check(installation, run)


def test_a_killed_training_goes_on_from_its_newest_state_after_one_tick(
    installation: Installation,
) -> None:
    run = installation.start(delay=0.3, epochs="3")
    installation.until(run, has_saved_and_gone_on)

    container = installation.worker(run, TRAIN)
    installation.loopback.kill(container)
    installation.loopback.wait_for(lambda: container.state == "ended")
    installation.tick()
    found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    assert started_attempts(installation, run, TRAIN) == [1, 2]
    assert resumed_step(installation, run, 2) == max(saved_steps(installation, run, 1))
    check(installation, run)


def test_a_stage_whose_call_is_unknown_to_modal_is_found_by_one_tick(
    installation: Installation,
) -> None:
    run = installation.start(delay=0.3, epochs="2")
    installation.until(run, lambda run: run.stage(TRAIN).status is StageStatus.RUNNING)

    container = installation.worker(run, TRAIN)
    call = container.inputs[0].call
    installation.loopback.kill(container)
    installation.loopback.wait_for(lambda: container.state == "ended")
    del installation.loopback.plane.calls.calls[call.id]
    installation.tick()
    found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    assert started_attempts(installation, run, TRAIN) == [1, 2]
    check(installation, run)


def test_what_advance_started_works_though_advance_was_killed_before_it_noted_it(
    installation: Installation,
) -> None:
    with kill_after(installation.loopback, "FunctionMap", of="advance") as killed:
        run = installation.start()
        installation.loopback.wait_for(lambda: killed)
    installation.settle()
    installation.tick()

    found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    assert {stage.attempt for stage in found.stages.values()} == {1}
    worked = [its.stage for its in executions(installation) if its.call.run == run and its.worked]
    assert len(worked) == len(set(worked))
    check(installation, run)


def test_a_merge_that_is_killed_before_its_receipt_is_done_again(
    installation: Installation,
) -> None:
    with kill_after(installation.loopback, "VolumeCommit", of="merge") as killed:
        run = installation.start("wan22-t2v-lightning", epochs="1")
        installation.loopback.wait_for(lambda: killed, 60)
    killed_at = installation.until(run, lambda run: len(run.stages) > 3)
    installation.settle()
    installation.tick()

    found = installation.finish(run)

    assert killed_at.stage(StageKey("train", "high")).status is StageStatus.PENDING
    assert found.status is RunStatus.SUCCEEDED
    attempts = {
        expert: found.stage(StageKey("merge", expert)).attempt for expert in ("high", "low")
    }
    assert sorted(attempts.values()) == [1, 2]
    check(installation, run)
