"""Writes files and directories under temporary names, and renames them when they are complete.

This module imports only the standard library, because it also runs in musubi-tuner's environment.
"""

import errno
import os
import shutil
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from training.files.temporary import PARTIAL, partial_name

_PATIENCE_SECONDS, _PAUSE_SECONDS = 2.0, 0.05


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to `path`; see `atomic_file`."""
    with atomic_file(path) as stream:
        stream.write(data)


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Generator[BinaryIO]:
    """Yield a stream to a temporary file, which becomes `path` at the end.

    If the body fails, the temporary file is deleted. Several processes may write `path` at once. If
    `durable`, the bytes are synced to disk before the file gets its name.
    """
    partial = path.with_name(partial_name(path.name))
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        if durable:
            publish(partial, path)
        else:
            patiently(lambda: partial.replace(path))
    finally:
        partial.unlink(missing_ok=True)


def publish(written: Path, target: Path) -> None:
    """Rename a file or folder to its final name, `target`, and sync the rename to disk.

    The content must already be synced.
    """
    if written.is_file():
        make_way(target)
    patiently(lambda: written.replace(target))
    sync_directory(target.parent)


def make_way(target: Path) -> None:
    """Remove `target` if it is an empty folder, so that a file can take its place.

    Raises:
        OSError: `target` is a folder that is not empty.
    """
    if target.is_dir() and not target.is_symlink():
        target.rmdir()


def patiently(rename: Callable[[], object]) -> None:
    """Call `rename`; on Windows, retry for two seconds while another program has the file open.

    Virus scanners, for example, open each new file for a moment.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    while sys.platform == "win32" and time.monotonic() < end:
        try:
            rename()
        except PermissionError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return
    rename()


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy if linking fails.

    Do not change either file afterwards, because a change to one would show in the other.
    """
    partial = target.with_name(partial_name(target.name, what=".link"))
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(source)
    except OSError:
        with source.open("rb") as original, atomic_file(target) as stream:
            shutil.copyfileobj(original, stream)
    else:
        publish(partial, target)


def atomic_symlink(link: Path, target: Path | str) -> None:
    """Make `link` a symbolic link to `target`, replacing any old link; create parent folders."""
    link.parent.mkdir(parents=True, exist_ok=True)
    partial = link.with_name(partial_name(link.name))
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    make_way(link)
    partial.replace(link)


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """Yield a temporary path with the same file name, for a writer that opens the file itself.

    At the end the file is moved to `path`. If the body fails, the file is deleted.
    """
    with _partial_directory(path) as partial:
        yield partial / path.name
        sync_file(partial / path.name)
        publish(partial / path.name, path)


@contextmanager
def atomic_directory(path: Path, *, durable: bool = True) -> Generator[Path]:
    """Yield a temporary directory, which becomes `path` at the end; a failure deletes it.

    If `durable`, everything in it is synced to disk before it gets its name.
    """
    with _partial_directory(path) as partial:
        yield partial
        if durable:
            sync_tree(partial)
        _replace_directory(path, partial)
        if durable:
            sync_directory(path.parent)


def remove_partials(directory: Path, name: str) -> None:
    """Remove the temporary files and directories that killed writers left in `directory`.

    Only those whose final names start with `name` are removed.
    """
    for left in directory.glob(f".{name}*{PARTIAL}"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def make_directory(folder: Path) -> None:
    """Create a folder and its missing parents, and sync their names to disk."""
    if not folder.is_dir():
        make_directory(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_directory(folder.parent)


def sync_file(path: Path) -> None:
    """Sync the bytes of a file to disk."""
    # Windows can sync a file only if it is open for writing. On other systems, open it for reading,
    # because it may be write-protected.
    with path.open("r+b" if sys.platform == "win32" else "rb") as stream:
        os.fsync(stream.fileno())


def sync_directory(folder: Path) -> None:
    """Sync the names of the files in `folder` to disk, if the system supports that."""
    if sys.platform == "win32":  # on Windows, programs cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not all network disks sync folders
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Sync everything below `folder` to disk."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            sync_tree(path)
        elif path.is_file():
            sync_file(path)
    sync_directory(folder)


@contextmanager
def _partial_directory(path: Path) -> Generator[Path]:
    partial = path.with_name(partial_name(path.name))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace_directory(path: Path, partial: Path) -> None:
    if not path.exists():
        patiently(lambda: partial.rename(path))
        return
    # Move the old directory aside first, because a rename cannot replace a non-empty directory.
    aside = path.with_name(partial_name(path.name, what=".old"))
    patiently(lambda: path.rename(aside))
    patiently(lambda: partial.rename(path))
    shutil.rmtree(aside)
