"""What is on disk for sure: a recorder of fsync, and what of a folder a power cut could take."""

import os
import stat
from pathlib import Path

import pytest


class Synced:
    """Knows which files and folders were synced, and how they were then."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._files: dict[tuple[int, int], tuple[int, int]] = {}
        self._names: dict[tuple[int, int], set[str]] = {}
        self._fsync = os.fsync
        patch.setattr(os, "fsync", self._record)

    def _record(self, descriptor: int) -> None:
        facts = os.fstat(descriptor)
        place = (facts.st_dev, facts.st_ino)
        if stat.S_ISDIR(facts.st_mode):
            self._names[place] = set(os.listdir(descriptor))
        else:
            self._files[place] = (facts.st_mtime_ns, facts.st_size)
        self._fsync(descriptor)

    def lost(self, *paths: Path) -> list[str]:
        """Return what a power cut could take: files, and names of files in a folder."""
        found: list[str] = []
        for path in paths:
            for each in (path, *sorted(path.rglob("*") if path.is_dir() else ())):
                if not each.is_symlink() and not self._is_safe(each):
                    found.append(str(each.relative_to(path.parent)))
        return found

    def _is_safe(self, path: Path) -> bool:
        facts = path.stat()
        place = (facts.st_dev, facts.st_ino)
        if path.is_dir():
            return {child.name for child in path.iterdir()} <= self._names.get(place, set())
        return self._files.get(place) == (facts.st_mtime_ns, facts.st_size)
