"""Durable writes: files and directories that get their name only when complete and synced.

Only the standard library is imported, because this also runs in musubi-tuner's environment.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_PARTIAL = ".partial"


@contextmanager
def atomic_file(path: Path) -> Generator[BinaryIO]:
    """Open a temporary file that is renamed to `path` at the end, or deleted on failure."""
    partial = _partial(path)
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what is there."""
    with atomic_file(path) as stream:
        stream.write(data)


def copy_atomically(source: Path, target: Path) -> None:
    """Copy a file to `target`, replacing what is there."""
    with source.open("rb") as original, atomic_file(target) as stream:
        shutil.copyfileobj(original, stream)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file that never changes to `target`; copy it where links are impossible."""
    partial = _partial(target)
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(source)
    except OSError:
        copy_atomically(source, target)
    else:
        partial.replace(target)


def symlink_atomically(link: Path, target: Path | str) -> None:
    """Point `link` at `target`, replacing what is there; parent directories are created."""
    link.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(link)
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(link)


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """Yield a temporary path with the same file name, for a writer that opens the file itself.

    The file is renamed to `path` at the end, or deleted on failure.
    """
    with _partial_directory(path) as partial:
        yield partial / path.name
        sync_file(partial / path.name)
        (partial / path.name).replace(path)


@contextmanager
def atomic_directory(path: Path) -> Generator[Path]:
    """Yield a temporary directory that is renamed to `path` at the end, or deleted on failure."""
    with _partial_directory(path) as partial:
        yield partial
        for file in partial.iterdir():
            sync_file(file)
        _replace_directory(path, partial)


def remove_partials(directory: Path, name: str) -> None:
    """Delete what a killed writer left of files and directories whose names start with `name`."""
    for left in directory.glob(f".{name}*{_PARTIAL}"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def remove_directory(path: Path) -> None:
    """Delete a directory; if killed, nothing half-deleted is left under its name."""
    aside = path.with_name(f".{path.name}.old{_PARTIAL}")
    path.rename(aside)
    shutil.rmtree(aside)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_directory(path: Path) -> None:
    """Make the renames in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _partial(path: Path) -> Path:
    # Two processes that write the same file must not write into each other's.
    return path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")


@contextmanager
def _partial_directory(path: Path) -> Generator[Path]:
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace_directory(path: Path, partial: Path) -> None:
    if not path.exists():
        partial.rename(path)
        return
    # A directory cannot be renamed over a full one; the old one steps aside for a moment.
    aside = path.with_name(f".{path.name}.old{_PARTIAL}")
    path.rename(aside)
    partial.rename(path)
    shutil.rmtree(aside)
