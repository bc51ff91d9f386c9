"""What the nightly clean-up removes, and what it never touches."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from training import store_keys
from training.operations.clean_up import Freed, clean_up
from training.pipeline.runtime import Runtime
from training.runs.spec import RunSpec
from training.runs.state import StageStatus
from training.vocabulary import StageKey

DAYS = timedelta(days=1)
MODEL = "wan22-t2v-lightning"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stages, RunSpec]:
    """A run that has ended, with caches, merged bases, states and checkpoints."""
    stages = Stages(tmp_path_factory.mktemp("clean"))
    stages.upload(guide_files(images=1, clips=1))
    spec = stages.start(MODEL)
    stages.cache(spec)
    for expert in ("high", "low"):
        for stage in ("merge", "train", "publish"):
            assert stages.run(spec, StageKey(stage, expert)) is StageStatus.SUCCEEDED
    return stages, spec


def after(stages: Stages, days: float) -> Runtime:
    """Return the runtime with a clock that many days ahead."""
    runtime = stages.local.runtime
    return replace(runtime, clock=lambda: runtime.clock() + days * DAYS)


def contents(stages: Stages) -> Mapping[str, int]:
    """Return every stored file with its size."""
    home = stages.local.home
    files = (path for path in home.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(home).as_posix(): path.stat().st_size for path in files}


def rebuildable(name: str) -> bool:
    return name.startswith((store_keys.MERGED, store_keys.caches(GUILD)))


def test_recently_used_files_stay(trained: tuple[Stages, RunSpec]) -> None:
    stages, _ = trained
    before = contents(stages)

    found = clean_up(after(stages, 29))

    assert contents(stages) == before
    assert (found.caches, found.merged) == ({}, Freed())


def test_damaged_receipts_and_drafts_do_not_stop_it(trained: tuple[Stages, RunSpec]) -> None:
    stages, spec = trained
    store = stages.local.runtime.store
    receipts = {
        key: store.read(key)
        for key in (
            spec.keys.receipt(StageKey("cache")),
            spec.keys.receipt(StageKey("merge", "high")),
        )
    }
    for key in receipts:
        store.write(key, b"{")
    draft = f"{store_keys.drafts(GUILD)}/damaged"
    store.write(draft, b"{")

    clean_up(after(stages, 0))

    assert not store.exists(draft)
    for key, data in receipts.items():
        store.write(key, data)


def test_leftovers_of_a_killed_writer_are_removed_after_a_day(
    trained: tuple[Stages, RunSpec],
) -> None:
    stages, _ = trained
    left = stages.local.home / ".tmp" / "left"
    left.write_bytes(b"half a file")
    before = contents(stages)

    kept, freed = clean_up(after(stages, 0.9)), clean_up(after(stages, 1.1))

    assert kept.unfinished_bytes == 0
    assert freed.unfinished_bytes == len(b"half a file")
    assert contents(stages) == {n: size for n, size in before.items() if n != ".tmp/left"}


def test_only_unused_files_that_can_be_rebuilt_are_removed(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=1, clips=1))
    spec = stages.start(MODEL)
    stages.cache(spec)
    merge = StageKey("merge", "high")
    assert stages.run(spec, merge) is StageStatus.SUCCEEDED
    stages.local.runs.cancel(GUILD, spec.name, by="7")
    before = contents(stages)

    found = clean_up(after(stages, 31))

    gone = {name: size for name, size in before.items() if rebuildable(name)}
    assert contents(stages) == {n: size for n, size in before.items() if n not in gone}
    caches = [size for name, size in gone.items() if name.startswith(store_keys.caches(GUILD))]
    assert found.caches == {GUILD: Freed(len(caches), sum(caches))}
    assert found.merged == Freed(len(gone) - len(caches), sum(gone.values()) - sum(caches))


def test_files_of_an_open_run_are_not_removed(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=1, clips=1))
    stages.cache(stages.start())
    before = contents(stages)

    found = clean_up(after(stages, 31))

    assert contents(stages) == before
    assert not found.caches
