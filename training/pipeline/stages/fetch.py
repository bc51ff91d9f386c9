"""fetch: download the run's weight files, once for all runs, and hash them."""

import json
from collections.abc import Sequence
from pathlib import Path

from training import store_keys
from training.catalogue.models import WeightFile
from training.files.disk_space import require_room
from training.musubi.hub import link_file
from training.pipeline.stage_runner import StageContext, StageResult


def run(context: StageContext) -> StageResult:
    """Download missing weight files and write a receipt for each."""
    files = context.planner.weight_files()
    missing = [weight for weight in files if not _is_there(context, weight)]
    progress = _Progress(context, missing)
    progress.require_room()
    for weight in missing:
        context.check_stopping()
        _fetch(context, weight, progress)
    note = f"{len(missing)} of {len(files)} files fetched"
    return StageResult(reused=not missing, note=note)


def sha256_of(context: StageContext, weight: WeightFile) -> str:
    """Return the hash of a weight file, recorded when it was fetched."""
    return _receipt(context, weight)["sha256"]


def show_tokenizers(context: StageContext) -> None:
    """Link the tokenizers into the Hub cache that the trainer's libraries read."""
    engine = _engine(context)
    cache = context.staging_path(store_keys.hub_cache(engine))
    for weight in context.planner.model.tokenizers:
        stored = context.path(store_keys.weight(engine, weight))
        link_file(cache, weight, _receipt(context, weight)["revision"], stored)


class _Progress:
    """Tracks how many bytes of this attempt's downloads are here."""

    def __init__(self, context: StageContext, missing: Sequence[WeightFile]) -> None:
        engine = context.planner.engine
        self._context = context
        self._extents = {
            weight: engine.extent(weight, _target(context, weight)) for weight in missing
        }
        self._here = {weight: extent.here_bytes for weight, extent in self._extents.items()}

    def require_room(self) -> None:
        """Raise if the disk has no room for all downloads.

        Raises:
            StageError: The disk is too full.
        """
        need = sum(extent.size_bytes - extent.here_bytes for extent in self._extents.values())
        folder = self._context.staging_path(store_keys.models(self._context.planner.engine.name))
        folder.mkdir(parents=True, exist_ok=True)
        require_room(folder, need, f"fetching {len(self._extents)} weight files")

    def show(self, weight: WeightFile, here_bytes: int) -> None:
        """Report how much of a file is here; raise if the attempt was told to stop."""
        self._context.check_stopping()
        self._here[weight] = here_bytes
        done, total = sum(self._here.values()), sum(e.size_bytes for e in self._extents.values())
        facts = json.dumps({"done": done, "total": total})
        self._context.report_progress(facts.encode(), is_last=done == total)


def _fetch(context: StageContext, weight: WeightFile, progress: _Progress) -> None:
    store, planner = context.runtime.store, context.planner
    key = store_keys.weight(_engine(context), weight)
    with context.shared(key, key):
        if not _is_there(context, weight):  # another run may have fetched it meanwhile
            target = _target(context, weight)
            obtained = planner.engine.obtain(
                planner.model, weight, target, lambda here: progress.show(weight, here)
            )
            size_bytes = target.stat().st_size
            context.keep(key)
            facts = {
                "repo": weight.repo,
                "file": weight.file,
                "revision": obtained.revision,
                "size_bytes": size_bytes,
                "sha256": obtained.sha256,
            }
            receipt = store_keys.weight_receipt(_engine(context), weight)
            store.write(receipt, json.dumps(facts, indent=2).encode())
    progress.show(weight, int(_receipt(context, weight)["size_bytes"]))


def _is_there(context: StageContext, weight: WeightFile) -> bool:
    # The receipt is written last: a file without one is incomplete. The size is checked too: a
    # truncated file would fail the trainer only after minutes.
    try:
        size_bytes = int(_receipt(context, weight)["size_bytes"])
        stored = context.runtime.store.fetch(store_keys.weight(_engine(context), weight))
    except (FileNotFoundError, ValueError):
        return False
    return stored.stat().st_size == size_bytes


def _receipt(context: StageContext, weight: WeightFile) -> dict[str, str]:
    return json.loads(
        context.runtime.store.read(store_keys.weight_receipt(_engine(context), weight))
    )


def _target(context: StageContext, weight: WeightFile) -> Path:
    return context.staging_path(store_keys.weight(_engine(context), weight))


def _engine(context: StageContext) -> str:
    return context.planner.engine.name
