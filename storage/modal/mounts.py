"""Writes files into the Volumes that a container has mounted; readers see only complete files."""

import shutil
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training import store_keys
from training.files.atomic import atomic_write, sync_file
from training.files.disk_space import is_full
from training.store_keys import Area

TEMPORARY = ".tmp"


@dataclass(frozen=True, slots=True)
class Mounts:
    """Mount points of the Volumes, by area.

    Attributes:
        mounted: The areas that this container has mounted for reading and writing.
        read_only: The areas that it has mounted for reading only.
    """

    folders: Mapping[Area, Path]
    mounted: frozenset[Area] = frozenset()
    read_only: frozenset[Area] = frozenset()

    def path(self, key: str) -> Path:
        return self.folders[store_keys.area(key)] / PurePosixPath(key)

    def take_in(self, key: str, source: Path) -> None:
        """Copy a file or folder to `key`.

        A folder's files appear one by one, each only when complete, because Modal does not document
        that a folder with files can be renamed. The folder's records, which are JSON files directly
        in it, appear last; without them, readers treat the folder as incomplete.
        """
        folder = self._temporary(key) / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            copy, target = folder / "new", self.path(key)
            _copy(source, copy)
            if copy.is_dir():
                _replace_folder(copy, target)
            else:
                _move(copy, target)
        finally:
            shutil.rmtree(folder)

    def write(self, key: str, data: bytes) -> None:
        """Write a file so that it appears only when it is complete."""
        temporary = self._temporary(key) / uuid.uuid4().hex
        temporary.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(temporary, data)
        _move(temporary, self.path(key))

    @contextmanager
    def undone_if_full(self, files: Sequence[str], records: Sequence[str]) -> Generator[None]:
        """Undo what the body writes if the Volume has no room for it.

        Otherwise no later commit would fit either, however small. Records that the body replaces
        are restored; files are not.
        """
        new = [place for key in files if not (place := self.path(key)).exists()]
        before = {key: _content(self.path(key)) for key in records}
        try:
            yield
        except OSError as error:
            if is_full(error):
                for place in new:
                    remove(place)
                for key, data in before.items():
                    if data is None:
                        remove(self.path(key))
                    else:
                        self.write(key, data)
            raise

    def _temporary(self, key: str) -> Path:
        return self.folders[store_keys.area(key)] / TEMPORARY


def remove(path: Path) -> bool:
    """Remove a file or folder; return whether it existed."""
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
    else:
        return False
    return True


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _replace_folder(copy: Path, target: Path) -> None:
    """Move all files below `copy` to `target`; delete all other files in `target`."""
    fresh = sorted(copy.rglob("*"), key=lambda path: (_is_record(path, copy), path))
    names = {path.relative_to(copy) for path in fresh}
    old = sorted(target.rglob("*"), key=lambda path: (not _is_record(path, target), path))
    for path in old:
        if path.is_file() and (_is_record(path, target) or path.relative_to(target) not in names):
            path.unlink()
    for path in fresh:
        if path.is_file():
            _move(path, target / path.relative_to(copy))


def _is_record(path: Path, folder: Path) -> bool:
    return path.parent == folder and path.suffix == ".json"


def _move(path: Path, target: Path) -> None:
    # The rename is not synced, because Modal stores it when the Volume is committed.
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for path in sorted(source.iterdir()):
            _copy(path, target / path.name)
        return
    shutil.copyfile(source, target)
    sync_file(target)
