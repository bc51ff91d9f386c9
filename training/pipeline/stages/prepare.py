"""prepare: repair the dataset once for all runs, and write the run's dataset TOML."""

import logging
from pathlib import Path

from training import store_keys
from training.dataset.manifest import MANIFEST, verify_manifest
from training.dataset.repair import repair
from training.errors import DatasetError, StageError
from training.files.temporary import scratch_folder
from training.pipeline.stage_runner import StageContext, StageResult
from training.pipeline.stage_writes import Made
from training.remedies import AddDataset

logger = logging.getLogger(__name__)


def run(context: StageContext) -> StageResult:
    """Store the repaired dataset if it is missing or damaged, and the run's dataset TOML."""
    spec, planner = context.spec, context.planner
    name = f"prepared/{spec.guild}/{spec.dataset.version}"
    with context.shared(planner.prepared_key, name):
        is_there = _is_whole(context)
        if not is_there:
            _repair(context, _fetch_upload(context))
    config = {spec.keys.dataset_config: planner.dataset_toml().encode("utf-8")}
    return StageResult(reused=is_there, made=Made(records=config))


def _is_whole(context: StageContext) -> bool:
    """Return whether the repaired dataset is stored, with every file as it was written."""
    if not context.runtime.store.exists(f"{context.planner.prepared_key}/{MANIFEST}"):
        return False
    try:
        verify_manifest(context.path(context.planner.prepared_key))
    except DatasetError as error:
        logger.warning("run %s: the dataset is repaired again: %s", context.spec.name, error.cause)
        return False
    return True


def _fetch_upload(context: StageContext) -> Path:
    used = context.spec.dataset
    folder = store_keys.dataset(context.spec.guild, used.name, used.number)
    try:
        return context.runtime.store.fetch(f"{folder}/{store_keys.ORIGINAL}")
    except FileNotFoundError as error:
        raise StageError(
            f"The zip of the dataset {used} was removed, and no complete repaired copy is left.",
            "Add the dataset again, then start another run.",
            AddDataset(name=used.name),
        ) from error


def _repair(context: StageContext, archive: Path) -> None:
    store = context.runtime.store
    target = context.staging_path(context.planner.prepared_key)

    def on_progress(done: int, total: int) -> None:
        context.check_stopping()
        context.report_progress({"done": done, "total": total})

    with scratch_folder("prepare", target.parent) as work:
        repair(
            archive,
            context.runtime.report(context.spec),
            work / "set",
            limits=context.runtime.limits,
            on_progress=on_progress,
        )
        store.delete(context.planner.prepared_key)
        store.put_tree(context.planner.prepared_key, work / "set")
