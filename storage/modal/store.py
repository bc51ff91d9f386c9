"""A `Store` in Modal Volumes: small records through the Volume API, large files through mounts.

A container's writes to a mount are visible to others only after the container commits and they
reload their mounts. A mount with open files cannot be reloaded, so records are read through the
API. Stages read large files from their mounts. They write new files to a local disk, and copy
complete files into the mounts. The bot mounts the runs' Volume for reading only (`read_mount.py`),
and fetches copies of other files.
"""

import io
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath

from storage.keys import checked
from storage.local.path_reader import PathReader
from storage.modal.file_cache import FetchedFiles, KnownFiles
from storage.modal.mounts import TEMPORARY, Mounts, remove
from storage.modal.read_mount import ReadMount
from storage.modal.volume_api import EntryType, Volume, VolumeEntry, counting
from training import store_keys
from training.backends.modal.errors import BUSY_SECONDS, ask
from training.pipeline.leases import hold_lease
from training.ports import (
    NOTHING,
    FileReader,
    Leases,
    StoreChanges,
    StoredFile,
    unwatched,
)
from training.store_keys import Area

_READERS = 8  # concurrent requests
# Modal's client retries requests for about a second, except for listings, which are streams.
_LIST_SECONDS = 5.0
# How long the bot keeps trying to read a record while Modal is busy. Only the bot has read-only
# mounts.
_ANSWER_SECONDS = 10.0
_OPEN_FILES = "open files"  # part of Modal's message when a mount cannot be reloaded
logger = logging.getLogger(__name__)


class VolumeStore:
    """A store that keeps each area in a separate Volume.

    The events of runs are cached in memory. So reading an open run again takes only one listing and
    the download of the files that have grown.

    Args:
        volumes: The Volume of each area.
        leases: Held during `create` and `put_tree`, so that only one of several callers succeeds.
        mounts: The Volumes' mount points, and which of them this container has mounted.
        scratch: A folder on a local disk.
        write_seconds: See `Store`.
        jitter_seconds: Longest random pause before a commit, to spread commits out, because a
            Volume accepts only a few at a time.
    """

    def __init__(
        self,
        volumes: Mapping[Area, Volume],
        leases: Leases,
        *,
        mounts: Mounts,
        scratch: Path,
        jitter_seconds: float = 0.5,
        write_seconds: float = 0.0,
    ) -> None:
        self._volumes, self._leases = volumes, leases
        self._mounts = mounts
        self._staging_path = scratch / "staging"
        self._jitter_seconds = jitter_seconds
        self._read_seconds = _ANSWER_SECONDS if mounts.read_only else BUSY_SECONDS
        self.write_seconds = write_seconds
        self._fetched = FetchedFiles(scratch / "fetched")
        self._known = KnownFiles()
        # Keys of records that this container has written through a mount. The container must keep
        # using the mount for these records: a failed commit may still take effect later, and would
        # restore the mount's version.
        self._mounted_records: set[str] = set()
        self._read_mounts = {
            area: ReadMount(mounts.folders[area], partial(self._reload, area))
            for area in mounts.read_only
        }

    def read(self, key: str) -> bytes:
        is_written_once = store_keys.is_written_once(key)
        if is_written_once and (known := self._known.get(key)) is not None:
            return known
        data = ask(
            key,
            lambda: b"".join(self._volume(key).read_file(key)),
            busy_seconds=self._read_seconds,
        )
        if is_written_once:
            self._known.put(key, data)
        return data

    def write(self, key: str, data: bytes) -> None:
        self.change(StoreChanges(written={key: data}))

    def create(self, key: str, data: bytes, others: Mapping[str, bytes] = NOTHING) -> bool:
        with hold_lease(self._leases, f"create/{key}"):
            if self.exists(key):
                return False
            self.change(StoreChanges(written={**others, key: data}))
            return True

    def append(self, key: str, data: bytes) -> None:
        """Append lines to `key`; a partial line left by a crash is dropped."""
        self.change(StoreChanges(appended={key: data}))

    def exists(self, key: str) -> bool:
        return bool(self._entries(key))

    def names(self, prefix: str) -> list[str]:
        # A guild may have a folder in any area, so list the guilds of all areas.
        whole = self._volumes if prefix == store_keys.GUILDS else (store_keys.area(prefix),)
        return sorted({_name(entry) for area in whole for entry in self._below(prefix, area)})

    def read_all(self, prefix: str) -> dict[str, bytes]:
        files = [entry for entry in self._below(prefix) if entry.type == EntryType.FILE]
        with ThreadPoolExecutor(_READERS) as pool:
            contents = list(pool.map(self._read_entry, files))
        found = zip(files, contents, strict=True)
        return {_name(entry): data for entry, data in found if data is not None}

    def walk(self, prefix: str) -> Iterator[StoredFile]:
        with suppress(FileNotFoundError):
            volume = self._volume(prefix)
            for entry in _listed(volume, prefix, recursive=True):
                if entry.type == EntryType.FILE:
                    written_at = datetime.fromtimestamp(entry.mtime, UTC)
                    yield StoredFile(entry.path.strip("/"), entry.size, written_at)

    def sweep(self, before: datetime) -> int:
        freed = 0
        for area, volume in self._volumes.items():
            old, size_bytes = _unfinished(volume, before)
            freed += size_bytes
            self._remove(area, old)
        return freed

    def put_tree(self, key: str, source: Path) -> bool:
        with hold_lease(self._leases, f"create/{key}"):
            if self.exists(key):
                return False
            # Use the API instead of a mount, because a commit would count as another write.
            self._put(store_keys.area(key), _Part({key: source}))
            return True

    def delete(self, key: str) -> None:
        """Delete `key` and everything below it, including staged files."""
        self.change(StoreChanges(deleted=(key,)))

    def fetch(self, key: str, watch: Callable[[int], None] = unwatched) -> Path:
        """Return the mounted file, or a fetched copy if the mount lacks the latest version."""
        entry = self._entry(key)
        if store_keys.area(key) in self._mounts.mounted and _shows(self._mounts.path(key), entry):
            return self._mounts.path(key)
        volume = self._volume(key)
        return ask(
            key,
            lambda: self._fetched.get(
                key,
                f"{entry.mtime} {entry.size}",
                lambda file: volume.read_file_into_fileobj(key, file, counting(watch)),
            ),
        )

    def reader(self, key: str) -> FileReader:
        """Return a reader of the file in a read-only mount, or of a fetched copy."""
        mount = self._read_mounts.get(store_keys.area(key))
        if mount is None:
            return PathReader.of(self.fetch(key))
        return mount.reader(key, self._entry(key))

    def path(self, key: str) -> Path:
        return self._mounts.path(key)

    def refresh(self, key: str) -> None:
        """Reload the mount of `key` to show what others have committed."""
        if (area := store_keys.area(key)) in self._mounts.mounted:
            self._reload(area)

    def _reload(self, area: Area) -> None:
        try:
            ask(area, self._volumes[area].reload)
        except RuntimeError as error:
            if _OPEN_FILES not in str(error):
                raise
            raise ConnectionError(f"the Volume of {area} cannot be reloaded: {error}") from error

    def staging_path(self, key: str) -> Path:
        """Return a path on the local disk; `keep` copies it to the Volume."""
        return self._staging_path / checked(key)

    def keep(self, *keys: str) -> None:
        """Copy staged files to the Volumes and commit."""
        self.change(StoreChanges(kept=keys))

    def upload(self, *keys: str) -> None:
        """Store staged files through the API, without a commit.

        A commit reloads the mount, and during a reload the mount looks empty to programs.
        """
        for area, part in self._by_area(StoreChanges(kept=keys)):
            self._put(area, part)

    def change(self, changes: StoreChanges) -> None:
        """Make the changes, area by area.

        For an area that this container mounts, this is one commit. For any other, it is one upload
        followed by the deletions.
        """
        for key in changes.deleted:
            self._known.forget(key)
            remove(self.staging_path(key))
        for area, part in self._by_area(changes):
            self._store(area, part)
            for key, data in part.records.items():
                if key in changes.appended:
                    self._known.put(key, data)
                else:
                    self._known.forget(key)

    def _by_area(self, changes: StoreChanges) -> Sequence[tuple[Area, "_Part"]]:
        """Split changes by area; areas with new files come before areas with only records."""
        found: dict[Area, _Part] = {}

        def of(key: str) -> _Part:
            checked(key)
            return found.setdefault(store_keys.area(key), _Part())

        for key in changes.kept:
            if (place := self.staging_path(key)).exists():
                of(key).files[key] = place
        for key, data in changes.written.items():
            of(key).records[key] = data
        for key, lines in changes.appended.items():
            of(key).records[key] = self._appended(key, lines)
        for key in changes.deleted:
            of(key).deleted.append(key)
        return list(found.items())

    def _appended(self, key: str, data: bytes) -> bytes:
        """Return the content of `key` with `data` appended; drop a partial line left by a crash.

        A file in a Volume can only be replaced as a whole. This process is its only writer, so it
        keeps the content in memory.
        """
        lines = self._known.get(key)
        if lines is None:
            with suppress(FileNotFoundError):
                lines = self.read(key)
        lines = lines or b""
        return lines[: lines.rfind(b"\n") + 1] + data

    def _store(self, area: Area, part: "_Part") -> None:
        is_dirty = not self._mounted_records.isdisjoint(part.records)
        if area in self._mounts.mounted and (part.files or is_dirty):
            with self._mounts.undone_if_full([*part.files], [*part.records]):
                for key, source in part.files.items():
                    self._mounts.take_in(key, source)
                for key, data in part.records.items():
                    self._mounted_records.add(key)
                    self._mounts.write(key, data)
                self._remove(area, part.deleted, is_changed=True)
        else:
            self._put(area, part)
            self._remove(area, part.deleted)

    def _put(self, area: Area, part: "_Part") -> None:
        def put() -> None:
            with self._volumes[area].batch_upload(force=True) as batch:
                for key, source in part.files.items():
                    if source.is_dir():
                        batch.put_directory(source, f"/{key}")
                    else:
                        batch.put_file(source, f"/{key}")
                for key, data in part.records.items():
                    batch.put_file(io.BytesIO(data), f"/{key}")

        if part.files or part.records:
            ask(next(iter([*part.files, *part.records])), put)

    def _remove(self, area: Area, keys: Sequence[str], *, is_changed: bool = False) -> None:
        """Remove keys from the mount and commit once; use the API for keys that the mount lacks.

        Each removal through the API counts as a write, and a Volume accepts only a few writes a
        minute. `is_changed` means that the mount has other changes to commit.
        """
        left = list(keys)
        if area in self._mounts.mounted:
            places = {key: self._mounts.folders[area] / key for key in keys}
            files = {key for key, place in places.items() if place.is_file()}
            removed = [key for key, place in places.items() if remove(place)]
            if removed or is_changed:
                # Commit at once: a later commit would also delete files that others store under
                # these keys in the meantime.
                self._commit(area)
            # The mount may not show all files that others have stored, so ask the API for the rest.
            left = [key for key in keys if key not in files and self._entries(key, area)]
        for key in left:
            with suppress(FileNotFoundError):
                ask(key, partial(self._volumes[area].remove_file, f"/{key}", recursive=True))

    def _commit(self, area: Area) -> None:
        time.sleep(random.uniform(0.0, self._jitter_seconds))
        try:
            ask(area, self._volumes[area].commit)
        except RuntimeError as error:
            # Modal reloads the mount after a commit, and this reload fails while files are open.
            if _OPEN_FILES not in str(error):
                raise ConnectionError(f"the Volume of {area} was not committed") from error
            message = "the Volume of %s was committed, but its mount was not reloaded: %s"
            logger.debug(message, area, error)

    def _entries(self, key: str, area: Area | None = None) -> Sequence[VolumeEntry]:
        volume = self._volumes[area or store_keys.area(key)]
        try:
            return _listed(volume, str(checked(key)))
        except FileNotFoundError:
            return ()

    def _entry(self, key: str) -> VolumeEntry:
        """Return the listing of the file at `key`; raise `FileNotFoundError` if there is none."""
        for entry in self._entries(key):
            if _is_file_at(entry, key):
                return entry
        raise FileNotFoundError(key)

    def _below(self, prefix: str, area: Area | None = None) -> list[VolumeEntry]:
        found = self._entries(prefix, area)
        return [entry for entry in found if entry.path.strip("/") != prefix]

    def _read_entry(self, entry: VolumeEntry) -> bytes | None:
        key = entry.path.strip("/")
        known = self._known.get(key)
        if known is not None and len(known) == entry.size:
            return known
        try:
            data = self.read(key)
        except FileNotFoundError:  # removed meanwhile
            return None
        if not key.endswith(store_keys.LINES):
            return data
        self._known.put(key, data)
        return data[: entry.size]  # the file may have grown since it was listed

    def _volume(self, key: str) -> Volume:
        checked(key)
        return self._volumes[store_keys.area(key)]


@dataclass(slots=True)
class _Part:
    """The changes in one area: staged files and records, both by key, and keys to delete."""

    files: dict[str, Path] = field(default_factory=dict[str, Path])
    records: dict[str, bytes] = field(default_factory=dict[str, bytes])
    deleted: list[str] = field(default_factory=list[str])


def _unfinished(volume: Volume, before: datetime) -> tuple[list[str], int]:
    """Return killed writers' unfinished files older than `before`, and their size in bytes."""
    found: dict[str, list[VolumeEntry]] = {}
    with suppress(FileNotFoundError):
        for entry in _listed(volume, TEMPORARY, recursive=True):
            if entry.type == EntryType.FILE:
                top = "/".join(entry.path.strip("/").split("/")[:2])
                found.setdefault(top, []).append(entry)
    old = {
        top: sum(entry.size for entry in entries)
        for top, entries in found.items()
        if all(entry.mtime < before.timestamp() for entry in entries)
    }
    return list(old), sum(old.values())


def _listed(volume: Volume, key: str, *, recursive: bool = False) -> Sequence[VolumeEntry]:
    def entries() -> Sequence[VolumeEntry]:
        return volume.listdir(f"/{key}", recursive=recursive)

    return ask(key, entries, patience_seconds=_LIST_SECONDS)


def _name(entry: VolumeEntry) -> str:
    return PurePosixPath(entry.path).name


def _is_file_at(entry: VolumeEntry, key: str) -> bool:
    return entry.type == EntryType.FILE and entry.path.strip("/") == key


def _shows(path: Path, entry: VolumeEntry) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == entry.size
