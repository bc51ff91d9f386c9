"""Deletes files that killed processes left in a home folder, once the files' owners are gone.

A file's owner is the process named in its file name, the holder of its lock file, or the run whose
folder contains it. Files of unknown owners are deleted once they are old.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from training import store_keys
from training.files.locks import hold
from training.files.temporary import PARTIAL, SCRATCH, is_abandoned
from training.store_keys import RunKeys

# Every child of these folders is temporary.
TEMPORARY = ".tmp"
_WAITING_ROOMS = (TEMPORARY, ".incoming")
_LOCK = ".lock"
_CACHING = "caching"
_NOT_STORED = ("local", "leases", "claims")  # the queue and the leases clean up after themselves
# These folders are quick to search, so they can be searched often.
_SMALL = (TEMPORARY, store_keys.MERGED, "models")


class Leftovers:
    """The leftovers below one home folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def sweep(self, before: datetime) -> int:
        """Delete the files of dead owners, and files of unknown owners older than `before`.

        Returns:
            The number of bytes deleted.
        """
        tops = (path for path in _children(self._root) if path.name not in _NOT_STORED)
        return self._sweep(tops, before.timestamp())

    def sweep_often(self) -> int:
        """Like `sweep`, but only in folders that are quick to search, and only for dead owners."""
        guilds = _children(self._root / store_keys.GUILDS)
        rooms = [guild / ".incoming" for guild in guilds]
        scratch = [path for guild in guilds for path in (guild / "prepared").glob(f"{SCRATCH}*")]
        small = [self._root / name for name in _SMALL]
        return self._sweep([*small, *rooms, *scratch], float("-inf"))

    def sweep_run(self, guild: str, name: str) -> int:
        """Delete what a finished run's stages left in its folder; return the bytes deleted."""
        return self._sweep([self._root / RunKeys(guild, name).folder], float("-inf"))

    def _sweep(self, tops: Iterable[Path], before: float) -> int:
        found = (path for top in tops for path in self._temporary(top))
        left = (path for path in found if self._is_left(path, before))
        return sum(_unlock(path) if path.name.endswith(_LOCK) else _remove(path) for path in left)

    def _temporary(self, path: Path) -> Iterator[Path]:
        """Yield temporary files and folders at or below `path`; do not search inside them."""
        if self._is_temporary(path):
            yield path
        elif path.is_dir() and not path.is_symlink():
            for child in _children(path):
                yield from self._temporary(child)

    def _is_temporary(self, path: Path) -> bool:
        name = path.name
        is_hidden = name.startswith(".") and name.endswith((PARTIAL, _LOCK))
        is_waiting = path.parent != self._root and path.parent.name in _WAITING_ROOMS
        is_here = is_waiting or name.startswith(SCRATCH)
        return is_hidden or is_here or self._is_of_run(path)

    def _is_of_run(self, path: Path) -> bool:
        """Return whether `path` is useless once its run has ended: a work folder or hidden file."""
        run = self._run_of(path)
        if run is None:
            return False
        return path.name.startswith(".") or path == self._root / run.folder / _CACHING

    def _is_left(self, path: Path, before: float) -> bool:
        is_gone = is_abandoned(path.name)
        if is_gone is not None:
            return is_gone
        if path.name.endswith(_LOCK):
            return True  # `_unlock` keeps a lock that somebody holds
        if (run := self._run_of(path)) is not None:
            return not (self._root / run.open).exists()
        if _lock_of(path).exists():
            return False  # `_unlock` deletes a partial output together with its lock
        return all(_written_at(file) < before for file in (path, *path.rglob("*")))

    def _run_of(self, path: Path) -> RunKeys | None:
        """Return the run whose folder contains `path`, or None."""
        parts = path.relative_to(self._root).parts
        if len(parts) > 4 and (parts[0], parts[2]) == (store_keys.GUILDS, "runs"):
            return RunKeys(parts[1], parts[3])
        return None


def _children(folder: Path) -> list[Path]:
    # Another process may delete the folder before it is listed.
    with suppress(FileNotFoundError, NotADirectoryError):
        return [folder / name for name in os.listdir(folder)]  # noqa: PTH208  # many names
    return []


def _lock_of(partial: Path) -> Path:
    """Return the lock file that a merge holds while it writes this partial output."""
    return partial.with_name(partial.name.removesuffix(PARTIAL) + _LOCK)


def _unlock(lock: Path) -> int:
    """Delete a lock that nobody holds and the partial output it guards; return the bytes freed.

    Do nothing if the lock is held.
    """
    size_bytes = 0
    with suppress(FileNotFoundError), lock.open("r+b") as file:
        if sys.platform != "win32" and hold(file):
            # Delete the lock while holding it: a process that waits for the lock then notices, and
            # creates a new one.
            size_bytes = _remove(lock.with_name(lock.name.removesuffix(_LOCK) + PARTIAL))
            lock.unlink(missing_ok=True)
    return size_bytes


def _written_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return float("-inf")


def _remove(path: Path) -> int:
    """Delete a file or folder, if it still exists; return its size in bytes."""
    files = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    size_bytes = 0
    for file in files:
        with suppress(FileNotFoundError):
            size_bytes += file.lstat().st_size if not file.is_dir() else 0
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return size_bytes
