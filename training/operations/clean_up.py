"""Frees space: empties the trash, and deletes unused caches, merged bases and unfinished files.

Apart from the trash, all of these can be rebuilt. Whatever users have not removed is kept.
"""

import json
import logging
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from training import store_keys
from training.errors import TrainingError
from training.merge.receipt import Receipt
from training.operations.drafts import is_old
from training.operations.trash.emptying import Freed, TrashBin
from training.pipeline.advance import open_runs
from training.pipeline.run_view import stage_keys
from training.pipeline.runtime import Runtime
from training.ports import Claims, Store, StoreChanges, StoredFile
from training.runs.state import Run

UNFINISHED_DAYS = 1
UNUSED_DAYS = 30
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUp:
    """The space that a clean-up freed; `trash` and `caches` are keyed by guild."""

    trash: dict[str, Freed]
    caches: dict[str, Freed]
    merged: Freed
    unfinished_bytes: int


def clean_up(runtime: Runtime) -> CleanUp:
    """Delete trash after 7 days, unused caches and merged bases after 30, other leftovers after 1.

    The other leftovers are unfinished files and drafts. Keep whatever an open run may need.
    """
    guilds = runtime.store.names(store_keys.GUILDS)
    trash = {guild: TrashBin(runtime).empty(guild) for guild in guilds}
    used_caches, used_merged = _used(runtime, guilds)
    caches = {g: _unused(runtime, store_keys.caches(g), used_caches) for g in guilds}
    merged = _unused_merged(runtime, used_merged)
    # List the open runs last, because a run may have started since the files were listed.
    if busy := {guild for guild, _ in open_runs(runtime)}:
        caches = {guild: files for guild, files in caches.items() if guild not in busy}
        merged = []
    # Delete everything in one change, because a Modal Volume accepts only a few writes a minute.
    runtime.store.change(
        StoreChanges(
            deleted=[
                *(key for guild in guilds for key in _old_drafts(runtime, guild)),
                *(file.key for files in caches.values() for file in files),
                *(key for base in merged for key in merged_keys(base.address)),
            ]
        )
    )
    return CleanUp(
        trash={guild: freed for guild, freed in trash.items() if freed.files},
        caches={guild: _freed(files) for guild, files in caches.items() if files},
        merged=_freed([file for base in merged for file in base.files]),
        unfinished_bytes=runtime.store.sweep(runtime.clock() - timedelta(days=UNFINISHED_DAYS)),
    )


def clean_up_daily(runtime: Runtime, claims: Claims) -> None:
    """Clean up at most once a day, and store notices about it; for machines without a scheduler."""
    if claims.claim(f"clean-up/{runtime.clock():%Y-%m-%d}"):
        announce(runtime, clean_up(runtime))


def _old_drafts(runtime: Runtime, guild: str) -> Iterator[str]:
    """Yield the keys of drafts whose plans were last shown more than a day ago."""
    oldest = runtime.clock() - timedelta(days=UNFINISHED_DAYS)
    for name, data in runtime.store.read_all(store_keys.drafts(guild)).items():
        if is_old(data, oldest):
            yield f"{store_keys.drafts(guild)}/{name}"


def _used(runtime: Runtime, guilds: Sequence[str]) -> tuple[set[str], set[str]]:
    """Return the keys of the caches and the addresses of the merged bases that recent runs use.

    Open runs count as recent.
    """
    caches, merged = set[str](), set[str]()
    for run in (run for guild in guilds for run in _recent_runs(runtime, guild)):
        for key in stage_keys(run.spec):
            try:
                data = runtime.store.read(run.spec.keys.receipt(key))
            except FileNotFoundError:
                continue
            try:
                if key.stage == "cache":
                    caches.update(json.loads(data)["files"].values())
                elif key.stage == "merge":
                    merged.add(Receipt.model_validate_json(data).address)
            except (ValueError, KeyError, TypeError, AttributeError):
                logger.warning("run %s: the receipt of %s is damaged", run.spec.name, key)
    return caches, merged


def _recent_runs(runtime: Runtime, guild: str) -> Iterator[Run]:
    limit = runtime.clock() - timedelta(days=UNUSED_DAYS)
    for name in runtime.store.names(store_keys.runs(guild)):
        try:
            run = runtime.log(guild, name).load()
            if not run.status.is_final or (run.ended_at or run.spec.created_at) > limit:
                yield run
        except TrainingError:
            logger.warning("run %s: cannot be read, so the files that it uses are unknown", name)


def _unused(runtime: Runtime, prefix: str, used: set[str]) -> list[StoredFile]:
    limit = runtime.clock() - timedelta(days=UNUSED_DAYS)
    files = runtime.store.walk(prefix)
    return [file for file in files if file.key not in used and file.written_at < limit]


@dataclass(frozen=True, slots=True)
class _Merged:
    """A merged base: the hash that names its folder, and its files."""

    address: str
    files: list[StoredFile]


def merged_keys(address: str) -> tuple[str, str]:
    """Return a merged base's keys in the order in which to delete them, the receipt first."""
    return store_keys.merged_receipt(address), f"{store_keys.MERGED}/{address}"


def _unused_merged(runtime: Runtime, used: set[str]) -> list[_Merged]:
    limit = runtime.clock() - timedelta(days=UNUSED_DAYS)
    found = [
        _Merged(address, list(runtime.store.walk(f"{store_keys.MERGED}/{address}")))
        for address in runtime.store.names(store_keys.MERGED)
        if address not in used
    ]
    return [base for base in found if all(file.written_at < limit for file in base.files)]


def _freed(files: Sequence[StoredFile]) -> Freed:
    return Freed(len(files), sum(file.size_bytes for file in files))


class CleanUpNotice(BaseModel):
    """The space that a clean-up freed, as posted in the channel of the guild's newest run.

    `shared_bytes` counts files that belong to no single guild: merged bases and unfinished files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    guild: str
    channel: str
    at: datetime
    cache_files: int
    cache_bytes: int
    shared_bytes: int
    trash_files: int = 0
    trash_bytes: int = 0


def announce(runtime: Runtime, found: CleanUp) -> None:
    """If files of a guild or shared files were deleted, store a notice for the guild.

    Guilds without a run get no notice.
    """
    shared_bytes = found.merged.size_bytes + found.unfinished_bytes
    for guild in runtime.store.names(store_keys.GUILDS):
        freed, trash = found.caches.get(guild, Freed()), found.trash.get(guild, Freed())
        channel = _channel(runtime, guild)
        if channel is None or not (freed.files or trash.files or shared_bytes):
            continue
        notice = CleanUpNotice(
            guild=guild,
            channel=channel,
            at=runtime.clock(),
            cache_files=freed.files,
            cache_bytes=freed.size_bytes,
            shared_bytes=shared_bytes,
            trash_files=trash.files,
            trash_bytes=trash.size_bytes,
        )
        runtime.store.write(store_keys.notice(uuid.uuid4().hex), notice.model_dump_json().encode())


def notices(store: Store) -> Iterator[tuple[str, CleanUpNotice]]:
    """Yield the key and content of every notice that has not been posted; delete damaged ones."""
    for name, data in store.read_all(store_keys.NOTICES).items():
        key = f"{store_keys.NOTICES}/{name}"
        try:
            notice = CleanUpNotice.model_validate_json(data)
        except ValidationError:
            logger.warning("%s is damaged; the clean-up that it describes is not announced", key)
            store.delete(key)
        else:
            yield key, notice


def _channel(runtime: Runtime, guild: str) -> str | None:
    """Return the channel of a guild's newest run that has a channel; None if no run has one."""
    newest: tuple[datetime, str] | None = None
    for name in runtime.store.names(store_keys.runs(guild)):
        try:
            spec = runtime.log(guild, name).spec()
        except TrainingError:
            continue
        if spec.channel and (newest is None or spec.created_at > newest[0]):
            newest = (spec.created_at, spec.channel)
    return newest[1] if newest else None
