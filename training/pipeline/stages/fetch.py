"""fetch: download the run's weight files, once for all runs, and hash them."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training import store_keys
from training.catalogue.models import WeightFile
from training.errors import StageError
from training.files.disk_space import require_room
from training.files.hashing import SHA256, file_sha256
from training.files.read_before import is_right
from training.files.sizes import GIB
from training.musubi.hub_cache import link_file
from training.pipeline.stage_runner import StageContext, StageResult
from training.pipeline.stage_writes import Made
from training.remedies import ResumeRun

logger = logging.getLogger(__name__)
# Files are stored in groups of up to 1 GiB, or alone if larger, with one write for each group. A
# killed attempt loses at most the group that it was fetching.
_TOGETHER_BYTES = GIB


def run(context: StageContext) -> StageResult:
    """Download missing weight files and write a receipt for each."""
    files = context.planner.weight_files()
    missing = [weight for weight in files if not _is_there(context, weight)]
    progress = _Progress(context, missing)
    progress.require_room()
    for weights in progress.groups():
        context.check_stopping()
        _fetch(context, weights, progress)
    note = f"{len(missing)} of {len(files)} files fetched"
    return StageResult(reused=not missing, note=note)


class WeightReceipt(BaseModel):
    """The record of a fetched file; it is stored last, beside the file."""

    model_config = ConfigDict(frozen=True)

    repo: str
    file: str
    revision: str
    size_bytes: int
    sha256: Annotated[str, Field(pattern=SHA256)]


def sha256_of(context: StageContext, weight: WeightFile) -> str:
    """Return the hash of a weight file, recorded when it was fetched.

    Raises:
        StageError: The receipt is missing or damaged.
    """
    if (receipt := _receipt(context, weight)) is None:
        raise _damaged(weight)
    return receipt.sha256


def require_weight(context: StageContext, weight: WeightFile) -> WeightReceipt:
    """Check the size of a fetched file and return its receipt.

    Raises:
        StageError: The file or its receipt is missing or damaged.
    """
    receipt = _receipt(context, weight)
    key = store_keys.weight(_engine(context), weight)
    if receipt is None or not _has_size(context, key, receipt.size_bytes):
        raise _damaged(weight)
    return receipt


def _has_size(context: StageContext, key: str, size_bytes: int) -> bool:
    for look in (lambda: None, lambda: context.runtime.store.refresh(key)):
        look()
        path = context.path(key)
        if path.is_file() and path.stat().st_size == size_bytes:
            return True
    return False


def _damaged(weight: WeightFile) -> StageError:
    return StageError(
        f"{weight.file} of {weight.repo} is missing or damaged.",
        "Resume the run to fetch it again.",
        ResumeRun(),
    )


def show_tokenizers(context: StageContext) -> None:
    """Link the tokenizers into the Hub cache that the trainer's libraries read."""
    engine = _engine(context)
    cache = context.staging_path(store_keys.hub_cache(engine))
    for weight in context.planner.model.tokenizers:
        stored = context.path(store_keys.weight(engine, weight))
        link_file(cache, weight, require_weight(context, weight).revision, stored)


class _Progress:
    """Tracks how many bytes of this attempt's downloads have arrived."""

    def __init__(self, context: StageContext, missing: Sequence[WeightFile]) -> None:
        engine = context.planner.engine
        self._context = context
        self._extents = {
            weight: engine.extent(weight, _target(context, weight)) for weight in missing
        }
        self._here = {weight: extent.here_bytes for weight, extent in self._extents.items()}

    def require_room(self) -> None:
        """Raise `StageError` if the disk has no room for all downloads."""
        need = sum(extent.size_bytes - extent.here_bytes for extent in self._extents.values())
        folder = self._context.staging_path(store_keys.models(self._context.planner.engine.name))
        folder.mkdir(parents=True, exist_ok=True)
        require_room(folder, need, f"fetching {len(self._extents)} weight files")

    def groups(self) -> list[list[WeightFile]]:
        """Split the missing files into groups: several small files, or a single large one.

        Each group is stored in one write.
        """
        found: list[list[WeightFile]] = []
        room = 0
        for weight, extent in self._extents.items():
            if extent.size_bytes > room:
                found.append([])
                room = _TOGETHER_BYTES
            found[-1:] = [[*(found[-1] if found else ()), weight]]
            room -= extent.size_bytes
        return found

    def show(self, weight: WeightFile, here_bytes: int) -> None:
        """Report that `here_bytes` of a file have been downloaded.

        Raises:
            StageInterruptedError: The attempt must stop.
        """
        self._context.check_stopping()
        self._here[weight] = here_bytes
        done, total = sum(self._here.values()), sum(e.size_bytes for e in self._extents.values())
        self._context.report_progress({"done": done, "total": total}, is_last=done == total)


def _fetch(context: StageContext, weights: Sequence[WeightFile], progress: _Progress) -> None:
    """Download one group of files and store it in one write."""
    engine = _engine(context)
    with context.shared(
        store_keys.models(engine), *(store_keys.weight(engine, weight) for weight in weights)
    ):
        # Another run may have fetched some of these files meanwhile.
        missing = [weight for weight in weights if not _is_there(context, weight)]
        receipts = {
            store_keys.weight_receipt(engine, weight): _obtain(context, weight, progress)
            for weight in missing
        }
        if missing:
            keys = [store_keys.weight(engine, weight) for weight in missing]
            context.writes.store(Made(kept=keys, records=receipts))
    for weight in weights:
        progress.show(weight, require_weight(context, weight).size_bytes)


def _obtain(context: StageContext, weight: WeightFile, progress: _Progress) -> bytes:
    """Download a file to its staging path and return its receipt."""
    planner, target = context.planner, _target(context, weight)
    obtained = planner.engine.obtain(
        planner.model, weight, target, lambda here: progress.show(weight, here)
    )
    receipt = WeightReceipt(
        repo=weight.repo,
        file=weight.file,
        revision=obtained.revision,
        size_bytes=target.stat().st_size,
        sha256=obtained.sha256,
    )
    return receipt.model_dump_json(indent=2).encode()


def _is_there(context: StageContext, weight: WeightFile) -> bool:
    # The receipt is written last, so a file without a receipt is incomplete.
    receipt = _receipt(context, weight)
    if receipt is None:
        return False
    try:
        stored = context.runtime.store.fetch(store_keys.weight(_engine(context), weight))
    except FileNotFoundError:
        return False

    def check() -> bool:
        return file_sha256(stored) == receipt.sha256

    if stored.stat().st_size == receipt.size_bytes and is_right(stored, receipt.sha256, check):
        return True
    logger.warning("%s of %s is damaged, so it is fetched again", weight.file, weight.repo)
    return False


def _receipt(context: StageContext, weight: WeightFile) -> WeightReceipt | None:
    key = store_keys.weight_receipt(_engine(context), weight)
    try:
        return WeightReceipt.model_validate_json(context.runtime.store.read(key))
    except (FileNotFoundError, ValidationError):
        return None


def _target(context: StageContext, weight: WeightFile) -> Path:
    return context.staging_path(store_keys.weight(_engine(context), weight))


def _engine(context: StageContext) -> str:
    return context.planner.engine.name
