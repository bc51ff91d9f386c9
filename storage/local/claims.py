"""Claims as files on one machine: the first to create the file owns the claim."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

KEPT_SECONDS = 24 * 60 * 60
_PRUNE_SECONDS = 60 * 60


class FileClaims:
    """One empty file per claim; everyone sharing the folder must use the same `clock`."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._pruned_at = float("-inf")
        folder.mkdir(parents=True, exist_ok=True)

    def claim(self, name: str) -> bool:
        """Return True to exactly one caller for each `name`."""
        is_first = self._create(hashlib.sha256(name.encode()).hexdigest()[:32])
        # Pruned after the claim is settled, because another copy may be waiting for that.
        if self._clock() - self._pruned_at > _PRUNE_SECONDS:
            self._pruned_at = self._clock()
            self._prune()
        return is_first

    def _create(self, file_name: str) -> bool:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            descriptor = os.open(self._folder / file_name, flags, 0o600)
        except FileExistsError:
            return False
        now = self._clock()
        os.utime(descriptor, (now, now))
        os.close(descriptor)
        return True

    def _prune(self) -> None:
        """Remove claims older than a day."""
        oldest = self._clock() - KEPT_SECONDS
        for path in self._folder.iterdir():
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
            except FileNotFoundError:
                continue  # another process prunes too
