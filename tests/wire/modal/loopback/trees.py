"""Folders compared and copied file by file, as volumes are committed and reloaded."""

import contextlib
import fcntl
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from tests.wire.modal.loopback.names import new_id

FICLONE = 0x40049409  # linux/fs.h: share the blocks until one side writes


@dataclass(frozen=True)
class Stamp:
    """By which a change of one file or folder is noticed.

    A folder's stamp says only that it is one: what happens in it shows at its files.
    """

    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder's."""
        return self.size < 0


FOLDER = Stamp(-1, 0, 0, 0)


def scan(root: Path) -> dict[str, Stamp]:
    """Return the stamps of everything below a folder by relative path, parents first."""
    found: dict[str, Stamp] = {}
    todo = [""]
    while todo:
        folder = todo.pop()
        with contextlib.suppress(FileNotFoundError), os.scandir(root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                with contextlib.suppress(FileNotFoundError):  # deleted while we look
                    found[path] = _stamp(entry.stat(follow_symlinks=False))
                    if found[path].is_folder:
                        todo.append(path)
    return found


def _stamp(its: os.stat_result) -> Stamp:
    if stat.S_ISDIR(its.st_mode):
        return FOLDER
    return Stamp(its.st_size, its.st_mtime_ns, its.st_ctime_ns, its.st_ino)


def copy(source: Path, target: Path, staging: Path | None = None) -> None:
    """Copy a file or make a folder, replacing what is there; a later write to one never shows.

    A file that vanishes meanwhile is left out.

    Args:
        source: What is copied.
        target: Where the copy lies when it is complete.
        staging: Where it lies before, by default beside `target`, where others may see it.
    """
    if source.is_dir() and not source.is_symlink():
        if target.is_symlink() or target.is_file():
            target.unlink()
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    fresh = (staging or target.parent) / f".{target.name}.{new_id('cp')}"
    with contextlib.suppress(FileNotFoundError):
        if source.is_symlink():
            fresh.symlink_to(source.readlink())
        else:
            _copy_bytes(source, fresh)
        fresh.replace(target)


def remove(path: Path) -> None:
    """Delete a file or a folder with what is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy_bytes(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        try:
            fcntl.ioctl(write.fileno(), FICLONE, read.fileno())
        except OSError:  # no reflinks on this file system
            shutil.copyfileobj(read, write, 1 << 20)
    shutil.copystat(source, target)
