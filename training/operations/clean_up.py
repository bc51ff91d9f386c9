"""Making room: what is temporary and old, and what can be made again and has not been used.

Datasets, training states and checkpoints are never touched: only caches and merged bases are, and
what a killed writer left behind.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from training import store_keys
from training.errors import TrainingError
from training.merge.receipt import Receipt
from training.pipeline.advance import open_runs
from training.pipeline.run_view import stage_keys
from training.pipeline.runtime import Runtime
from training.ports import StoredFile
from training.runs.state import Run
from training.store_keys import RunKeys

UNFINISHED_DAYS = 1
UNUSED_DAYS = 30
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Freed:
    """How many files went, and their bytes."""

    files: int = 0
    size_bytes: int = 0

    def with_file(self, file: StoredFile) -> "Freed":
        """Return this and one file more."""
        return Freed(self.files + 1, self.size_bytes + file.size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUp:
    """What one cleaning freed: caches by guild, merged bases, and bytes of unfinished files."""

    caches: dict[str, Freed]
    merged: Freed
    unfinished_bytes: int


def clean_up(runtime: Runtime) -> CleanUp:
    """Remove what is temporary and older than a day, and what was unused for 30 days.

    What an open run may be about to read is left for another night.
    """
    used, busy = _Used(), {guild for guild, _ in open_runs(runtime)}
    guilds = runtime.store.names(store_keys.GUILDS)
    for guild in guilds:
        for run in _runs(runtime, guild):
            if _is_recent(runtime, run):
                used.note(runtime, run)
    idle = [guild for guild in guilds if guild not in busy]
    caches = {
        guild: _remove_unused(runtime, store_keys.caches(guild), used.caches) for guild in idle
    }
    return CleanUp(
        caches={guild: freed for guild, freed in caches.items() if freed.files},
        merged=Freed() if busy else _remove_unused_merged(runtime, used.merged),
        unfinished_bytes=runtime.store.sweep(runtime.clock() - timedelta(days=UNFINISHED_DAYS)),
    )


class _Used:
    """What runs of late have read."""

    def __init__(self) -> None:
        self.caches: set[str] = set()
        self.merged: set[str] = set()

    def note(self, runtime: Runtime, run: Run) -> None:
        """Note what a run reads, or would read when it is resumed."""
        guild, name = run.spec.guild, run.spec.name
        for key in stage_keys(run.spec):
            try:
                data = runtime.store.read(RunKeys(guild, name).receipt(key))
            except FileNotFoundError:
                continue
            if key.stage == "cache":
                self.caches.update(json.loads(data)["files"].values())
            elif key.stage == "merge":
                self.merged.add(Receipt.model_validate_json(data).address)


def _runs(runtime: Runtime, guild: str) -> Iterator[Run]:
    for name in runtime.store.names(store_keys.runs(guild)):
        try:
            yield runtime.log(guild, name).load()
        except TrainingError:
            logger.warning("run %s: cannot be read, so what it uses is not known", name)


def _is_recent(runtime: Runtime, run: Run) -> bool:
    limit = runtime.clock() - timedelta(days=UNUSED_DAYS)
    return not run.status.is_final or (run.ended_at or run.spec.created_at) > limit


def _remove_unused(runtime: Runtime, prefix: str, used: set[str]) -> Freed:
    limit, freed = runtime.clock() - timedelta(days=UNUSED_DAYS), Freed()
    for file in list(runtime.store.walk(prefix)):
        if file.key not in used and file.written_at < limit:
            runtime.store.delete(file.key)
            freed = freed.with_file(file)
    return freed


def _remove_unused_merged(runtime: Runtime, used: set[str]) -> Freed:
    limit, freed = runtime.clock() - timedelta(days=UNUSED_DAYS), Freed()
    for address in runtime.store.names(store_keys.MERGED):
        files = list(runtime.store.walk(f"{store_keys.MERGED}/{address}"))
        if address in used or any(file.written_at >= limit for file in files):
            continue
        # The receipt goes first: without it nobody takes the file for a merged base.
        runtime.store.delete(store_keys.merged_receipt(address))
        runtime.store.delete(f"{store_keys.MERGED}/{address}")
        for file in files:
            freed = freed.with_file(file)
    return freed
