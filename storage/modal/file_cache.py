"""Caches of stored files, on disk and in memory; a full cache drops the least recently used."""

import hashlib
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from cachetools import LRUCache

from training.files.atomic import atomic_file
from training.files.sizes import GIB, MIB

FETCHED_BYTES = 40 * GIB
KNOWN_BYTES = 32 * MIB


class FetchedFiles:
    """Fetches each file once and keeps it on disk; the least recently used files are deleted.

    A reader that has opened a file can read it to its end even if the file is deleted meanwhile.
    """

    def __init__(self, folder: Path, kept_bytes: int = FETCHED_BYTES) -> None:
        self._folder, self._kept_bytes = folder, kept_bytes
        self._sizes: OrderedDict[Path, int] = OrderedDict()
        self._lock = threading.Lock()
        self._fetching: dict[Path, threading.Lock] = {}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def get(self, key: str, version: str, fetch: Callable[[BinaryIO], object]) -> Path:
        """Return a local copy of `key` at `version`, fetching it if necessary.

        Args:
            key: The key to fetch; the copy has the same file name.
            version: Changes whenever the content does.
            fetch: Writes the content to a file. If it raises, nothing is kept.
        """
        address = hashlib.sha256(f"{key}\n{version}".encode()).hexdigest()[:32]
        path = self._folder / address / PurePosixPath(key).name
        with self._lock:
            fetching = self._fetching.setdefault(path, threading.Lock())
        with fetching:
            if not path.exists():
                self._fetch(path, fetch)
            self._note(path)
        return path

    def _fetch(self, path: Path, fetch: Callable[[BinaryIO], object]) -> None:
        path.parent.mkdir(exist_ok=True)
        with atomic_file(path, durable=False) as file:
            fetch(file)

    def _note(self, path: Path) -> None:
        """Mark a copy as recently used and delete old ones if the cache is full."""
        with self._lock:
            self._sizes[path] = path.stat().st_size
            self._sizes.move_to_end(path)
            while sum(self._sizes.values()) > self._kept_bytes and len(self._sizes) > 1:
                oldest, _ = self._sizes.popitem(last=False)
                self._fetching.pop(oldest, None)
                # Windows cannot delete a file while a reader has it open. Such a file is deleted
                # when this process ends.
                shutil.rmtree(oldest.parent, ignore_errors=True)


class KnownFiles:
    """Keeps the contents of the most recently used files in memory, by key."""

    def __init__(self, kept_bytes: int = KNOWN_BYTES) -> None:
        self._files: LRUCache[str, bytes] = LRUCache(kept_bytes, getsizeof=len)
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """Return the content of a file; None if it is not in memory."""
        with self._lock:
            return self._files.get(key)

    def put(self, key: str, data: bytes) -> None:
        """Remember the content of a file, unless it is larger than the whole cache."""
        with self._lock:
            self._files.pop(key, None)
            if len(data) <= self._files.maxsize:
                self._files[key] = data

    def forget(self, prefix: str) -> None:
        """Forget a file, or every file of a folder."""
        with self._lock:
            for key in [key for key in self._files if f"{key}/".startswith(f"{prefix}/")]:
                del self._files[key]
