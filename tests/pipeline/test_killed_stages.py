"""A run whose every stage is killed once leaves no more files than an undisturbed one."""

import os
import signal
from pathlib import Path

import pytest

from storage.local.leftovers import Leftovers
from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from training.runs.spec import RunSpec
from training.runs.state import StageStatus
from training.vocabulary import StageKey

MODEL = "wan22-t2v-lightning"
KEYS = (
    StageKey("prepare"),
    StageKey("fetch"),
    StageKey("cache"),
    *(StageKey(stage, "high") for stage in ("merge", "train", "publish")),
)
# The record of what happened differs, as do locks, and whatever is named by an attempt.
_RECORDS = ("events", "logs", "metrics")


def files(stages: Stages) -> set[str]:
    home = stages.local.home
    found = (path for path in home.rglob("*") if path.is_symlink() or path.is_file())
    names = (path.relative_to(home) for path in found)
    return {
        str(name)
        for name in names
        if name.parts[0] != "leases" and not set(_RECORDS) & set(name.parts)
    }


def begun(folder: Path, name: str) -> tuple[Stages, RunSpec]:
    (folder / name).mkdir()
    stages = Stages(folder / name)
    stages.upload(guide_files(images=1, clips=1))
    return stages, stages.begin(MODEL)


def temporary(home: Path) -> list[Path]:
    return [path for path in home.rglob(".*") if ".tmp" not in path.parts]


def kill_amid(stages: Stages, spec: RunSpec, key: StageKey) -> bool:
    """Kill one attempt when it has unfinished files; return whether that was possible."""
    process = stages.start_process(spec, key)
    known = set(temporary(stages.local.home))
    while process.poll() is None:
        if set(temporary(stages.local.home)) - known:
            os.kill(process.pid, signal.SIGKILL)
            break
    was_killed = process.wait() == -signal.SIGKILL
    stages.bury(spec, key)
    return was_killed


@pytest.mark.slow
def test_a_run_killed_in_every_stage_leaves_nothing_behind(tmp_path: Path) -> None:
    plain, spec = begun(tmp_path, "plain")
    for key in KEYS:
        assert plain.run(spec, key) is StageStatus.SUCCEEDED
    plain.local.runs.cancel(GUILD, spec.name, by="7")
    killed, spec = begun(tmp_path, "killed")
    cut_off = set[StageKey]()

    for key in KEYS:
        if kill_amid(killed, spec, key):
            cut_off.add(key)
            assert killed.run(spec, key) is StageStatus.SUCCEEDED
    killed.local.runs.cancel(GUILD, spec.name, by="7")
    killed.local.backend.check()
    Leftovers(killed.local.home).sweep_often()
    Leftovers(killed.local.home).sweep_run(GUILD, spec.name)

    assert {key.stage for key in cut_off} >= {"prepare", "merge", "train"}
    assert files(killed) == files(plain)
