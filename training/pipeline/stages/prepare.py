"""prepare: repair the dataset once for all runs, and write the run's dataset TOML."""

import shutil
import tempfile
from pathlib import Path

from training import store_keys
from training.dataset.repair import repair
from training.errors import StageError
from training.pipeline.stage_runner import StageContext, StageResult
from training.remedies import AddDataset


def run(context: StageContext) -> StageResult:
    """Store the repaired dataset by content id, unless it exists, and the run's dataset TOML."""
    spec, planner, store = context.spec, context.planner, context.runtime.store
    name = f"prepared/{spec.guild}/{spec.dataset.version}"
    with context.shared(name, planner.prepared_key):
        is_there = store.exists(f"{planner.prepared_key}/{store_keys.MANIFEST}")
        if not is_there:
            _require_upload(context)
            _repair(context)
    store.write(spec.keys.dataset_config, planner.dataset_toml().encode("utf-8"))
    return StageResult(reused=is_there)


def _require_upload(context: StageContext) -> None:
    used = context.spec.dataset
    folder = store_keys.dataset(context.spec.guild, used.name, used.number)
    if not context.runtime.store.exists(f"{folder}/{store_keys.ORIGINAL}"):
        raise StageError(
            f"The dataset {used} was removed, and nothing that was repaired of it is left.",
            "Add the dataset again, then start another run.",
            AddDataset(name=used.name),
        )


def _repair(context: StageContext) -> None:
    spec, store = context.spec, context.runtime.store
    folder = store_keys.dataset(spec.guild, spec.dataset.name, spec.dataset.number)
    target = context.staging_path(context.planner.prepared_key)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=".prepare-"))

    def on_progress(done: int, total: int) -> None:
        context.check_stopping()
        context.report_progress(f'{{"done": {done}, "total": {total}}}'.encode())

    try:
        archive = store.fetch(f"{folder}/{store_keys.ORIGINAL}")
        repair(
            archive,
            context.runtime.report(spec),
            work / "set",
            limits=context.runtime.limits,
            on_progress=on_progress,
        )
        store.delete(context.planner.prepared_key)
        store.put_tree(context.planner.prepared_key, work / "set")
    finally:
        shutil.rmtree(work)
