"""Preemptions and kills in the middle of a run on Modal: the next attempt continues."""

import json

import pytest

from tests.wire.modal.faults import kill_after
from tests.wire.modal.installation import GUILD, PATIENT, Installation
from tests.wire.modal.invariants import (
    check,
    executions,
    resumed_step,
    saved_steps,
    started_attempts,
)
from training import store_keys
from training.files.safetensors_header import read_header
from training.pipeline.advance import lease_name
from training.runs.state import Run, RunStatus
from training.store_keys import RunKeys
from training.vocabulary import StageKey

pytestmark = pytest.mark.slow
TRAIN = StageKey("train", "main")


def start_held(installation: Installation, epochs: int = 3) -> str:
    """Start a run, and wait until its training has saved its state and does not go on."""
    run = installation.start(held="training", epochs=str(epochs))
    installation.until(run, lambda _: saved_steps(installation, run, 1))
    return run


def finish_again(installation: Installation, run: str) -> Run:
    """Let the second attempt of a run's training begin and end."""
    installation.until(run, lambda run: run.stage(TRAIN).attempt == 2)
    installation.hurry()
    return installation.finish(run)


def test_a_preempted_training_saves_its_state_and_the_next_attempt_continues(
    installation: Installation,
) -> None:
    run = start_held(installation)

    installation.loopback.preempt(installation.worker(run, TRAIN))
    found = finish_again(installation, run)

    assert found.status is RunStatus.SUCCEEDED
    assert started_attempts(installation, run, TRAIN) == [1, 2]
    # It was saved at the preemption, so no step is repeated.
    assert resumed_step(installation, run, 2) == max(saved_steps(installation, run, 1))
    of_training = [its for its in executions(installation) if its.stage == (run, TRAIN)]
    # Modal starts the call that it took away again, perhaps after the next attempt has begun.
    assert [its.returned for its in of_training if its.worked][-1] == "succeeded"
    check(installation, run)


def test_a_training_whose_machine_disappears_continues(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation.loopback.settings, "preemption_grace_seconds", 0.0)
    run = start_held(installation)

    # Modal starts the same call again, elsewhere: its lease has run out by then.
    installation.loopback.preempt(installation.worker(run, TRAIN))
    installation.parts.runtime.leases.revoke(lease_name(GUILD, run, TRAIN), attempt=1)
    found = finish_again(installation, run)

    assert found.status is RunStatus.SUCCEEDED
    assert started_attempts(installation, run, TRAIN) == [1, 2]
    assert resumed_step(installation, run, 2) == max(saved_steps(installation, run, 1))
    check(installation, run)


def test_a_killed_training_continues_from_its_newest_state_after_one_tick(
    installation: Installation,
) -> None:
    run = start_held(installation)

    installation.kill(run, TRAIN)
    installation.tick()
    found = finish_again(installation, run)

    assert found.status is RunStatus.SUCCEEDED
    assert started_attempts(installation, run, TRAIN) == [1, 2]
    assert resumed_step(installation, run, 2) == max(saved_steps(installation, run, 1))
    check(installation, run)


def test_a_stage_whose_call_is_unknown_to_modal_is_found_by_one_tick(
    installation: Installation,
) -> None:
    run = start_held(installation, epochs=2)

    call = installation.worker(run, TRAIN).inputs[0].call
    installation.kill(run, TRAIN)
    del installation.loopback.plane.calls.calls[call.id]
    installation.tick()
    found = finish_again(installation, run)

    assert found.status is RunStatus.SUCCEEDED
    assert started_attempts(installation, run, TRAIN) == [1, 2]
    check(installation, run)


def test_a_stage_works_though_advance_was_killed_before_recording_it(
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


def test_a_killed_caching_goes_on_from_the_files_that_it_had_finished(
    installation: Installation,
) -> None:
    often = {**PATIENT, "LORABOT_CACHE_SECONDS": "1e-9"}
    with kill_after(installation.loopback, "VolumePutFiles", of="cache") as killed:
        run = installation.start("wan21-i2v-480p", held="caching", epochs="1", env=often)
        installation.loopback.wait_for(lambda: killed)
        installation.settle()  # so that the tick finds the call's end
    installation.hurry()
    kept = latents(installation)
    installation.tick()
    found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    assert found.stage(StageKey("cache")).attempt == 2
    whole = latents(installation)
    assert 0 < len(kept) < len(whole)
    assert {name: whole[name] for name in kept} == kept
    receipt = installation.committed("runs") / RunKeys(GUILD, run).receipt(StageKey("cache"))
    assert json.loads(receipt.read_text())["made"]["latents"] == len(whole) - len(kept)
    check(installation, run)


def latents(installation: Installation) -> dict[str, int]:
    """Return the stored latents of I2V models, with when each was written."""
    folder = installation.committed("datasets") / store_keys.caches(GUILD) / "latents"
    return {
        path.name: path.stat().st_mtime_ns
        for path in folder.rglob("*.safetensors")
        if any("image" in name for name in read_header(path).tensors)
    }


def test_a_merge_killed_before_its_receipt_is_repeated(
    installation: Installation,
) -> None:
    with kill_after(installation.loopback, "VolumeCommit", of="merge") as killed:
        run = installation.start("wan22-t2v-lightning", epochs="1")
        installation.loopback.wait_for(lambda: killed)
    installation.tick()
    found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    attempts = {
        expert: found.stage(StageKey("merge", expert)).attempt for expert in ("high", "low")
    }
    assert sorted(attempts.values()) == [1, 2]
    check(installation, run)
