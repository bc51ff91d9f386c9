"""Copies of stored files on a local disk: the newest few, each whole."""

import hashlib
import shutil
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

MIB, GIB = 1 << 20, 1 << 30
FETCHED_BYTES = 40 * GIB
KNOWN_BYTES = 32 * MIB


class FetchedFiles:
    """Fetches every content once; what was not asked for the longest goes first.

    A copy that goes while somebody reads it stays readable for them.
    """

    def __init__(self, folder: Path, kept_bytes: int = FETCHED_BYTES) -> None:
        self._folder, self._kept_bytes = folder, kept_bytes
        self._sizes: OrderedDict[Path, int] = OrderedDict()
        self._lock = threading.Lock()
        self._fetching: dict[Path, threading.Lock] = {}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def get(self, key: str, version: str, fetch: Callable[[BinaryIO], object]) -> Path:
        """Return a copy of `key` as it is in `version`, fetched unless it is there.

        Args:
            key: What is fetched; the copy has its name.
            version: Changes whenever the content does.
            fetch: Writes the content to a file; what it raises is raised, and nothing is kept.
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
        partial = path.with_name(f".{uuid.uuid4().hex}.partial")
        try:
            with partial.open("wb") as file:
                fetch(file)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _note(self, path: Path) -> None:
        """Note that a copy was asked for, and make room for it."""
        with self._lock:
            self._sizes[path] = path.stat().st_size
            self._sizes.move_to_end(path)
            while sum(self._sizes.values()) > self._kept_bytes and len(self._sizes) > 1:
                oldest, _ = self._sizes.popitem(last=False)
                self._fetching.pop(oldest, None)
                shutil.rmtree(oldest.parent)


class KnownFiles:
    """The newest few by key; what was not asked for the longest goes first."""

    def __init__(self, kept_bytes: int = KNOWN_BYTES) -> None:
        self._kept_bytes, self._size_bytes = kept_bytes, 0
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """Return the content of a file, None when it is not known."""
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
            return self._files.get(key)

    def put(self, key: str, data: bytes) -> None:
        """Know a file; its content replaces what was known."""
        with self._lock:
            self._remove(key)
            self._files[key] = data
            self._size_bytes += len(data)
            while self._size_bytes > self._kept_bytes:
                self._remove(next(iter(self._files)))

    def forget(self, prefix: str) -> None:
        """Forget a file, or all below a folder."""
        with self._lock:
            for key in [key for key in self._files if f"{key}/".startswith(f"{prefix}/")]:
                self._remove(key)

    def _remove(self, key: str) -> None:
        self._size_bytes -= len(self._files.pop(key, b""))
