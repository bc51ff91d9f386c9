"""A `Store` in Modal Volumes: small records through the Volume API, large files through mounts.

What a container writes to a mount becomes visible to others only after it commits and they reload,
and a mount with open files cannot be reloaded. So records never go through a mount. Stages read
large files from their mounts, create new ones on a local disk and copy them over when complete. The
bot has no mounts and fetches copies.
"""

import io
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from storage.keys import checked
from storage.modal.file_cache import FetchedFiles, KnownFiles
from storage.modal.mounts import TEMPORARY, Mounts, remove
from storage.modal.volume_api import EntryType, Volume, VolumeEntry, counting
from training import store_keys
from training.backends.modal.errors import as_file_errors
from training.pipeline.leases import hold_lease
from training.ports import Leases, StoredFile, unwatched
from training.store_keys import Area

_READERS = 8  # concurrent requests
_LINES = ".jsonl"  # append-only files: the same size means the same content
_OPEN_FILES = "open files"  # part of Modal's message when a mount cannot be reloaded
logger = logging.getLogger(__name__)


class VolumeStore:
    """One Volume for each area of the store.

    Files of a run are cached, so that looking at an open run again costs one listing and the files
    that have grown.

    Args:
        volumes: The Volume of each area.
        leases: Make sure that `create` and `put_tree` store only once.
        mounts: Where containers with mounts have the Volumes.
        is_mounted: Whether this container has the mounts.
        scratch: A folder on a local disk.
        jitter_seconds: Longest pause before a commit; Volumes allow few at a time.
    """

    def __init__(
        self,
        volumes: Mapping[Area, Volume],
        leases: Leases,
        *,
        mounts: Mounts,
        is_mounted: bool,
        scratch: Path,
        jitter_seconds: float = 0.5,
    ) -> None:
        self._volumes, self._leases = volumes, leases
        self._mounts, self._is_mounted = mounts, is_mounted
        self._staging_path = scratch / "staging"
        self._jitter_seconds = jitter_seconds
        self._fetched = FetchedFiles(scratch / "fetched")
        self._known = KnownFiles()

    def read(self, key: str) -> bytes:
        is_written_once = store_keys.is_written_once(key)
        if is_written_once and (known := self._known.get(key)) is not None:
            return known
        with as_file_errors(key):
            data = b"".join(self._volume(key).read_file(key))
        if is_written_once:
            self._known.put(key, data)
        return data

    def write(self, key: str, data: bytes) -> None:
        with as_file_errors(key), self._volume(key).batch_upload(force=True) as batch:
            batch.put_file(io.BytesIO(data), f"/{key}")
        self._known.forget(key)

    def create(self, key: str, data: bytes) -> bool:
        with hold_lease(self._leases, f"create/{key}"):
            if self.exists(key):
                return False
            self.write(key, data)
            return True

    def append(self, key: str, data: bytes) -> None:
        """Append lines to `key`; a partial line left by a crash is dropped.

        Files in a Volume can only be replaced; the single writer remembers what it wrote.
        """
        lines = self._known.get(key)
        if lines is None:
            with suppress(FileNotFoundError):
                lines = self.read(key)
        lines = lines or b""
        lines = lines[: lines.rfind(b"\n") + 1] + data
        self.write(key, lines)
        self._known.put(key, lines)

    def exists(self, key: str) -> bool:
        return bool(self._entries(key))

    def names(self, prefix: str) -> list[str]:
        # Every area has its own part of the guilds' folders.
        whole = self._volumes if prefix == store_keys.GUILDS else (store_keys.area(prefix),)
        return sorted({_name(entry) for area in whole for entry in self._below(prefix, area)})

    def read_all(self, prefix: str) -> dict[str, bytes]:
        files = [entry for entry in self._below(prefix) if entry.type == EntryType.FILE]
        with ThreadPoolExecutor(_READERS) as pool:
            contents = list(pool.map(self._read_entry, files))
        found = zip(files, contents, strict=True)
        return {_name(entry): data for entry, data in found if data is not None}

    def walk(self, prefix: str) -> Iterator[StoredFile]:
        with suppress(FileNotFoundError), as_file_errors(prefix):
            for entry in self._volume(prefix).listdir(f"/{prefix}", recursive=True):
                if entry.type == EntryType.FILE:
                    written_at = datetime.fromtimestamp(entry.mtime, UTC)
                    yield StoredFile(entry.path.strip("/"), entry.size, written_at)

    def sweep(self, before: datetime) -> int:
        freed = 0
        for area, volume in self._volumes.items():
            with suppress(FileNotFoundError), as_file_errors(area):
                for entry in volume.listdir(f"/{TEMPORARY}", recursive=True):
                    if entry.type == EntryType.FILE and entry.mtime < before.timestamp():
                        volume.remove_file(f"/{entry.path.strip('/')}")
                        freed += entry.size
        return freed

    def put_tree(self, key: str, source: Path) -> bool:
        with hold_lease(self._leases, f"create/{key}"):
            if self.exists(key):
                return False
            self._take_in({key: source})
            return True

    def delete(self, key: str) -> None:
        """Remove `key` and everything below it, its staged copy included."""
        self._known.forget(key)
        remove(self.staging_path(key))
        if self._is_mounted and remove(self._mounts.path(key)):
            # Committed now: a later commit would also remove what others store here meanwhile.
            self._commit(store_keys.area(key))
        with suppress(FileNotFoundError), as_file_errors(key):
            self._volume(key).remove_file(f"/{key}", recursive=True)

    def fetch(self, key: str, watch: Callable[[int], None] = unwatched) -> Path:
        """Return the mounted file, or a fetched copy if the mount is not up to date."""
        entry = next((e for e in self._entries(key) if _is_file_at(e, key)), None)
        if entry is None:
            raise FileNotFoundError(key)
        if self._is_mounted and _shows(self._mounts.path(key), entry):
            return self._mounts.path(key)
        volume = self._volume(key)
        with as_file_errors(key):
            return self._fetched.get(
                key,
                f"{entry.mtime} {entry.size}",
                lambda file: volume.read_file_into_fileobj(key, file, counting(watch)),
            )

    def path(self, key: str) -> Path:
        """Return the mounted path of `key`."""
        return self._mounts.path(key)

    def refresh(self, key: str) -> None:
        """Reload the mount of `key` to show what others have committed."""
        if not self._is_mounted:
            return
        try:
            with as_file_errors(key):
                self._volume(key).reload()
        except RuntimeError as error:
            if _OPEN_FILES not in str(error):
                raise
            raise ConnectionError(f"the Volume with {key} cannot be reloaded: {error}") from error

    def staging_path(self, key: str) -> Path:
        """Return a path on the local disk; `keep` copies it to the Volume."""
        return self._staging_path / checked(key)

    def keep(self, *keys: str) -> None:
        """Copy staged files to the Volumes and commit."""
        made = {key: self.staging_path(key) for key in keys}
        self._take_in({key: place for key, place in made.items() if place.exists()})

    def _take_in(self, sources: Mapping[str, Path]) -> None:
        by_area: dict[Area, dict[str, Path]] = {}
        for key, source in sources.items():
            by_area.setdefault(store_keys.area(key), {})[key] = source
        for area, found in by_area.items():
            if not self._is_mounted:
                self._upload(area, found)
                continue
            for key, source in found.items():
                self._mounts.take_in(key, source)
            self._commit(area)

    def _upload(self, area: Area, sources: Mapping[str, Path]) -> None:
        with as_file_errors(area), self._volumes[area].batch_upload(force=True) as batch:
            for key, source in sources.items():
                if source.is_dir():
                    batch.put_directory(source, f"/{key}")
                else:
                    batch.put_file(source, f"/{key}")

    def _commit(self, area: Area) -> None:
        time.sleep(random.uniform(0.0, self._jitter_seconds))
        try:
            with as_file_errors(area):
                self._volumes[area].commit()
        except RuntimeError as error:
            # Modal reloads after a commit, which fails while files are open.
            if _OPEN_FILES not in str(error):
                raise ConnectionError(f"the Volume of {area} was not committed") from error
            logger.debug("the Volume of %s was committed, not reloaded: %s", area, error)

    def _entries(self, key: str, area: Area | None = None) -> Sequence[VolumeEntry]:
        volume = self._volumes[area or store_keys.area(key)]
        try:
            with as_file_errors(key):
                return volume.listdir(f"/{checked(key)}")
        except FileNotFoundError:
            return ()

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
        if key.endswith(_LINES):
            self._known.put(key, data)
        return data

    def _volume(self, key: str) -> Volume:
        checked(key)
        return self._volumes[store_keys.area(key)]


def _name(entry: VolumeEntry) -> str:
    return PurePosixPath(entry.path).name


def _is_file_at(entry: VolumeEntry, key: str) -> bool:
    return entry.type == EntryType.FILE and entry.path.strip("/") == key


def _shows(path: Path, entry: VolumeEntry) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == entry.size
