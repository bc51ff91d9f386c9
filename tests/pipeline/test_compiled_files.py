"""What a trainer compiled is stored, in place of earlier files for the same GPU."""

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.media import guide_files
from tests.pipeline.separate_disk import SeparateDisk
from tests.pipeline.stages import Stages
from training import store_keys
from training.pipeline.stage_runner import run_stage
from training.pipeline.stages.functions import stage_function
from training.runs.spec import RunSpec
from training.runs.state import StageStatus
from training.vocabulary import StageKey

TRAIN = StageKey("train", "main")
FOLDER = store_keys.compiled("rehearsal")


@pytest.fixture
def ready(tmp_path: Path) -> tuple[Stages, RunSpec]:
    """Return a run that is about to train."""
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=2, clips=0))
    spec = stages.start()
    stages.cache(spec)
    return stages, spec


def write(folder: Path, *names: str) -> None:
    """Write files, each newer than the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    for age, name in enumerate(reversed(names)):
        (folder / name).write_text(name)
        os.utime(folder / name, (1e9 - age, 1e9 - age))


def names(folder: Path) -> Sequence[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_replaces_those_of_earlier_code(
    ready: tuple[Stages, RunSpec], tmp_path: Path
) -> None:
    stages, spec = ready
    store = SeparateDisk(stages.local.runtime.store, tmp_path / "workshops", seconds=0.0)
    stored = stages.local.runtime.store.path(FOLDER)
    write(stored, "NVIDIA-H200-0a.tar", "NVIDIA-H100-0a.tar")
    write(store.staging_path(FOLDER), "NVIDIA-H200-1b.tar")
    call = stages.local.backend.call(int(stages.state(spec, TRAIN).handle))

    runtime = replace(stages.local.runtime, store=store)
    status = run_stage(runtime, call, stage_function("train"), threading.Event())

    assert status is StageStatus.SUCCEEDED, stages.cause(spec)
    assert names(stored) == ["NVIDIA-H100-0a.tar", "NVIDIA-H200-1b.tar"]
    assert (stored / "NVIDIA-H200-1b.tar").read_text() == "NVIDIA-H200-1b.tar"


def test_one_machine_keeps_the_newest_file_of_each_gpu(ready: tuple[Stages, RunSpec]) -> None:
    stages, spec = ready
    stored = stages.local.runtime.store.path(FOLDER)
    write(stored, "NVIDIA-H100-2c.tar", "NVIDIA-H200-2c.tar", "NVIDIA-H200-1b.tar")

    assert stages.run(spec, TRAIN) is StageStatus.SUCCEEDED, stages.cause(spec)

    assert names(stored) == ["NVIDIA-H100-2c.tar", "NVIDIA-H200-1b.tar"]
