"""What is preempted or killed in the middle of a run on Modal: the next attempt goes on."""

import pytest

from tests.wire.modal.faults import kill_after
from tests.wire.modal.installation import GUILD, Installation
from tests.wire.modal.invariants import (
    check,
    executions,
    resumed_step,
    saved_steps,
    started_attempts,
)
from training.pipeline.advance import lease_name
from training.runs.state import RunStatus, StageStatus
from training.vocabulary import StageKey

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TRAIN = StageKey("train", "main")


def wait_for_state(installation: Installation, run: str) -> None:
    """Wait until the training of a run has saved its state."""
    installation.until(run, lambda _: saved_steps(installation, run, 1))


def test_a_preempted_training_saves_its_state_and_the_next_attempt_goes_on(
    installation: Installation,
) -> None:
    run = installation.start(delay=0.3, epochs="3")
    wait_for_state(installation, run)

    installation.loopback.preempt(installation.worker(run, TRAIN))
    found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    assert started_attempts(installation, run, TRAIN) == [1, 2]
    # Saved when it was told to leave: not one step is taken again.
    assert resumed_step(installation, run, 2) == max(saved_steps(installation, run, 1))
    of_training = [its for its in executions(installation) if its.stage == (run, TRAIN)]
    # Modal starts the call that it took away again, perhaps after the next attempt has begun.
    assert [its.returned for its in of_training if its.worked][-1] == "succeeded"
    check(installation, run)


def test_a_training_whose_machine_is_taken_away_without_a_warning_goes_on(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation.loopback.settings, "preemption_grace_seconds", 0.0)
    run = installation.start(delay=0.3, epochs="3")
    wait_for_state(installation, run)

    # Modal starts the same call again, elsewhere: its lease has run out by then.
    installation.loopback.preempt(installation.worker(run, TRAIN))
    installation.parts.runtime.leases.revoke(lease_name(GUILD, run, TRAIN), attempt=1)
    found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    assert started_attempts(installation, run, TRAIN) == [1, 2]
    assert resumed_step(installation, run, 2) == max(saved_steps(installation, run, 1))
    check(installation, run)


def test_a_killed_training_goes_on_from_its_newest_state_after_one_tick(
    installation: Installation,
) -> None:
    run = installation.start(delay=0.3, epochs="3")
    wait_for_state(installation, run)

    installation.kill(run, TRAIN)
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

    call = installation.worker(run, TRAIN).inputs[0].call
    installation.kill(run, TRAIN)
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
    installation.tick()
    found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    attempts = {
        expert: found.stage(StageKey("merge", expert)).attempt for expert in ("high", "low")
    }
    assert sorted(attempts.values()) == [1, 2]
    check(installation, run)
