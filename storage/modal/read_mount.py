"""Reads parts of files in a Volume that a container mounts for reading only.

Modal refuses to reload a mount while one of its files is open, and during a reload, the mount looks
empty. So a file is open only while a part of it is read, and a reload waits until no part is being
read. This way, a slow receiver of a file cannot keep the mount from being reloaded.
"""

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache

from storage.modal.volume_api import VolumeEntry
from training.ports import FileChangedError

_KNOWN_VERSIONS = 10_000


class ReadMount:
    """The mount of one Volume; `reload` brings the newest commit into view."""

    def __init__(self, folder: Path, reload: Callable[[], None]) -> None:
        self._folder, self._reload = folder, reload
        self._gate = _Gate()
        self._reloading = threading.Lock()
        # File versions for which the mount was already reloaded once. A second reload might not
        # help: Modal does not promise that a mount ever shows the same times as a listing.
        self._looked_for: LRUCache[str, None] = LRUCache(_KNOWN_VERSIONS)

    def reader(self, key: str, entry: VolumeEntry) -> "MountReader":
        """Return a reader of the file that a listing shows as `entry`.

        Raises:
            OSError: The mount does not show this version, even after a reload.
        """
        path, version = self._folder / key, f"{key} {entry.mtime} {entry.size}"
        facts = self._facts(path)
        if not _is_version(facts, entry) and version not in self._looked_for:
            with self._reloading:
                facts = self._facts(path)  # another thread may have reloaded the mount
                if not _is_version(facts, entry):
                    with self._gate.alone():
                        self._reload()
                    self._looked_for[version] = None
                    facts = self._facts(path)
        if facts is None or facts.st_size != entry.size:
            raise ConnectionError(f"the mount does not show the newest version of {key} yet")
        return MountReader(self._gate, path, facts.st_size, facts.st_mtime_ns)

    def _facts(self, path: Path) -> os.stat_result | None:
        with self._gate.shared():
            try:
                return path.stat(follow_symlinks=False)
            except FileNotFoundError:
                return None


@dataclass(frozen=True, slots=True)
class MountReader:
    """A `FileReader` that opens its file again for each part."""

    gate: "_Gate"
    path: Path
    size_bytes: int
    modified_ns: int

    @property
    def state(self) -> str:
        return f"{self.path} {self.size_bytes} {self.modified_ns}"

    def read(self, start: int, size_bytes: int) -> bytes:
        with self.gate.shared():
            try:
                with self.path.open("rb") as file:
                    facts = os.fstat(file.fileno())
                    file.seek(start)
                    data = file.read(size_bytes)
            except FileNotFoundError as error:
                raise FileChangedError(f"{self.path.name} was removed while being read") from error
        if (facts.st_size, facts.st_mtime_ns) != (self.size_bytes, self.modified_ns):
            raise FileChangedError(f"{self.path.name} was replaced while being read")
        return data

    def open(self) -> None:
        """Return None: an open file would block reloads."""


class _Gate:
    """A read-write lock: many threads may read at once, but a call of `alone` goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers, self._is_closed = 0, False

    @contextmanager
    def shared(self) -> Generator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_closed)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Generator[None]:
        """Wait for all readers and admit no new ones; only one thread may call this at a time."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._readers)
        try:
            yield
        finally:
            with self._changed:
                self._is_closed = False
                self._changed.notify_all()


def _is_version(facts: os.stat_result | None, entry: VolumeEntry) -> bool:
    if facts is None:
        return False
    return (facts.st_size, int(facts.st_mtime)) == (entry.size, entry.mtime)
