"""Training states: which are kept, and by whom the others are removed."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.media import guide_files
from tests.pipeline.stages import Stages
from training.pipeline.stage_runner import run_stage
from training.pipeline.stages.functions import stage_function
from training.ports import Store
from training.runs.spec import RunSpec
from training.runs.state import StageStatus
from training.vocabulary import StageKey

TRAIN = StageKey("train", "main")


class OwnWorkshops:
    """A store whose programs work on another disk, and that takes its time to copy a state."""

    def __init__(self, store: Store, workshops: Path, seconds: float) -> None:
        self._store, self._workshops, self._seconds = store, workshops, seconds
        self.states: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def staging_path(self, key: str) -> Path:
        return self._workshops / key

    def keep(self, *keys: str) -> None:
        for key in keys:
            made = self.staging_path(key)
            if made.is_dir():
                self._keep_state(key, made)
            elif made.exists():
                self._store.path(key).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made, self._store.path(key))

    def _keep_state(self, key: str, made: Path) -> None:
        self.states.append(made.name)
        copy = self._store.path(key)
        copy.mkdir(parents=True)
        for file in sorted(made.iterdir()):
            threading.Event().wait(self._seconds)
            shutil.copyfile(file, copy / file.name)

    def delete(self, key: str) -> None:
        self._store.delete(key)
        shutil.rmtree(self.staging_path(key), ignore_errors=True)


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Stages, RunSpec]:
    """Yield a run that is about to train, with a state after every step."""
    monkeypatch.setenv("LORABOT_STATE_SECONDS", "0.000001")
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=4, clips=0))
    spec = stages.start()
    stages.cache(spec)
    return stages, spec


def kept(folder: Path) -> list[int]:
    """Return the steps of the states that were saved between the asked ones."""
    found = (path / "training_state.json" for path in folder.glob("*-step*-state"))
    return sorted(json.loads(record.read_bytes())["step"] for record in found)


def test_the_newest_two_states_are_kept(ready: tuple[Stages, RunSpec]) -> None:
    stages, spec = ready

    assert stages.run(spec, TRAIN) is StageStatus.SUCCEEDED, stages.cause(spec)

    folder = stages.local.runtime.store.path(spec.keys.checkpoints("main"))
    last = max(kept(folder))
    assert last > 3
    assert kept(folder) == [last - 1, last]


def test_no_state_is_removed_while_it_is_copied(
    ready: tuple[Stages, RunSpec], tmp_path: Path
) -> None:
    stages, spec = ready
    store = OwnWorkshops(stages.local.runtime.store, tmp_path / "workshops", seconds=0.05)
    runtime = replace(stages.local.runtime, store=store)
    call = stages.local.backend.call(int(stages.state(spec, TRAIN).handle))

    status = run_stage(runtime, call, stage_function("train"), threading.Event())

    assert status is StageStatus.SUCCEEDED, stages.cause(spec)
    checkpoints = spec.keys.checkpoints("main")
    stored = stages.local.runtime.store.path(checkpoints)
    names = sorted(path.name for path in stored.glob("*-state"))
    assert len(store.states) > len(names)
    assert names == sorted(path.name for path in store.staging_path(checkpoints).glob("*-state"))
