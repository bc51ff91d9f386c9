"""Claims as files on one machine: the first to create the file owns the claim."""

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from training.files.atomic import atomic_file

KEPT_SECONDS = 24 * 60 * 60
_PRUNE_SECONDS = 60 * 60


class FileClaims:
    """One file per claim or note; all processes that share the folder must use the same `clock`."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._pruned_at = float("-inf")
        self._notes = folder / "notes"
        folder.mkdir(parents=True, exist_ok=True)

    def claim(self, name: str) -> bool:
        """Return True to exactly one caller for each `name`."""
        is_first = self._create(_file_name(name))
        # Prune only now, so that other processes see at once that the claim is taken.
        if self._clock() - self._pruned_at > _PRUNE_SECONDS:
            self._pruned_at = self._clock()
            self._prune()
        return is_first

    def note(self, name: str, data: bytes) -> None:
        self._notes.mkdir(exist_ok=True)
        # Not synced to disk: a note must survive a crash of its process, but not of the machine.
        with atomic_file(self._notes / _file_name(name), durable=False) as file:
            file.write(data)

    def forget(self, name: str) -> None:
        (self._notes / _file_name(name)).unlink(missing_ok=True)

    def notes(self) -> list[bytes]:
        found = list[bytes]()
        for path in self._notes.glob("[!.]*"):
            with suppress(FileNotFoundError):
                found.append(path.read_bytes())
        return found

    def _create(self, file_name: str) -> bool:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        path = self._folder / file_name
        try:
            os.close(os.open(path, flags, 0o600))
        except FileExistsError:
            return False
        now = self._clock()
        os.utime(path, (now, now))
        return True

    def _prune(self) -> None:
        oldest = self._clock() - KEPT_SECONDS
        for path in (*self._folder.iterdir(), *self._notes.glob("*")):
            with suppress(FileNotFoundError):  # another process has pruned it
                if path.is_file() and path.stat().st_mtime < oldest:
                    path.unlink()


def _file_name(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]
