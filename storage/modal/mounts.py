"""Mounted Volumes of a container, and how complete files get into them."""

import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training import store_keys
from training.store_keys import Area

TEMPORARY = ".tmp"


@dataclass(frozen=True, slots=True)
class Mounts:
    """Mount points of the Volumes, by area of the store."""

    folders: Mapping[Area, Path]

    def path(self, key: str) -> Path:
        """Return the mounted path of `key`."""
        return self.folders[store_keys.area(key)] / PurePosixPath(key)

    def take_in(self, key: str, source: Path) -> None:
        """Copy a file or folder to `key`, where it appears only when complete."""
        folder = self.folders[store_keys.area(key)] / TEMPORARY / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            copy, target = folder / "new", self.path(key)
            _copy(source, copy)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                # A folder cannot be renamed over a full one, so the old one is moved aside first.
                target.rename(folder / "old")
            copy.replace(target)
        finally:
            shutil.rmtree(folder)


def remove(path: Path) -> bool:
    """Remove a file or folder; return whether it existed."""
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
    else:
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for path in sorted(source.iterdir()):
            _copy(path, target / path.name)
        return
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
