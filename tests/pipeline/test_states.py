"""Training states: which are kept, and when the others are removed."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.damage import flip_a_bit
from tests.media import guide_files
from tests.pipeline.separate_disk import SeparateDisk
from tests.pipeline.stages import Stages
from training.pipeline.stage_runner import run_stage
from training.pipeline.stages.functions import stage_function
from training.pipeline.stages.train import newest_state
from training.runs.spec import RunSpec
from training.runs.state import StageStatus
from training.vocabulary import StageKey

TRAIN = StageKey("train", "main")


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Stages, RunSpec]:
    """Yield a run that is about to train and saves a state after every step."""
    monkeypatch.setenv("LORABOT_STATE_SECONDS", "0.000001")
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=4, clips=0))
    spec = stages.start()
    stages.cache(spec)
    return stages, spec


def files_of(state: Path) -> set[str]:
    """Return the names of the files whose checksums a state has."""
    return set(json.loads((state / "training_state.json").read_bytes())["files"])


def kept(folder: Path) -> list[int]:
    """Return the steps of the states that were saved between the scheduled ones."""
    found = (path / "training_state.json" for path in folder.glob("*-step*-state"))
    return sorted(json.loads(record.read_bytes())["step"] for record in found)


def test_the_newest_two_states_are_kept(ready: tuple[Stages, RunSpec]) -> None:
    stages, spec = ready

    assert stages.run(spec, TRAIN) is StageStatus.SUCCEEDED, stages.cause(spec)

    folder = stages.local.runtime.store.path(spec.keys.checkpoints("main"))
    last = max(kept(folder))
    assert last > 3
    assert kept(folder) == [last - 1, last]


def test_training_continues_from_the_older_state_if_the_newest_is_damaged(
    ready: tuple[Stages, RunSpec],
) -> None:
    stages, spec = ready
    assert stages.run(spec, TRAIN) is StageStatus.SUCCEEDED, stages.cause(spec)
    folder = stages.local.runtime.store.path(spec.keys.checkpoints("main"))
    newest = newest_state(folder, spec, "main")
    assert newest is not None
    assert {file.name for file in newest.iterdir()} == {*files_of(newest), "training_state.json"}

    flip_a_bit(newest / "optimizer.bin")

    older = newest_state(folder, spec, "main")
    assert older is not None
    assert older != newest
    assert (older / "optimizer.bin").is_file()


def test_no_state_is_removed_while_it_is_copied(
    ready: tuple[Stages, RunSpec], tmp_path: Path
) -> None:
    stages, spec = ready
    store = SeparateDisk(stages.local.runtime.store, tmp_path / "workshops", seconds=0.05)
    runtime = replace(stages.local.runtime, store=store)
    call = stages.local.backend.call(int(stages.state(spec, TRAIN).handle))

    status = run_stage(runtime, call, stage_function("train"), threading.Event())

    assert status is StageStatus.SUCCEEDED, stages.cause(spec)
    checkpoints = spec.keys.checkpoints("main")
    stored = stages.local.runtime.store.path(checkpoints)
    names = sorted(path.name for path in stored.glob("*-state"))
    assert len(store.states) > len(names)
    assert names == sorted(path.name for path in store.staging_path(checkpoints).glob("*-state"))
