"""Files and directories that appear under their name only when complete and on disk.

Standard library only: this also runs inside musubi-tuner's environment.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_PARTIAL = ".partial"


def atomic_write(path: Path, data: bytes, *, shared: bool = False) -> None:
    """Write `data` to `path`; see `atomic_file`."""
    with atomic_file(path, shared=shared) as stream:
        stream.write(data)


@contextmanager
def atomic_file(path: Path, *, shared: bool = False, durable: bool = True) -> Generator[BinaryIO]:
    """Yield a stream that becomes `path` at the end; a failure leaves nothing behind.

    Args:
        path: The file; one that exists is replaced.
        shared: Several processes may write it at once.
        durable: Wait until the bytes are on disk.
    """
    partial = path.with_name(f".{path.name}{f'.{os.getpid()}' if shared else ''}{_PARTIAL}")
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file that never changes to `target`; copy it where links are impossible."""
    partial = target.with_name(f".{target.name}.link{_PARTIAL}")
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(source)
    except OSError:
        with source.open("rb") as original, atomic_file(target) as stream:
            shutil.copyfileobj(original, stream)
    else:
        partial.replace(target)


def atomic_symlink(link: Path, target: Path | str) -> None:
    """Point `link` at `target`, replacing what is there; parent directories are created."""
    link.parent.mkdir(parents=True, exist_ok=True)
    partial = link.with_name(f".{link.name}.{os.getpid()}{_PARTIAL}")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(link)


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """Yield a path with the same file name, for a writer that opens the file itself.

    The file becomes `path` at the end; a failure leaves nothing behind.
    """
    with _partial_directory(path) as partial:
        yield partial / path.name
        sync_file(partial / path.name)
        (partial / path.name).replace(path)


@contextmanager
def atomic_directory(path: Path) -> Generator[Path]:
    """Yield a directory that becomes `path` at the end; a failure leaves nothing behind."""
    with _partial_directory(path) as partial:
        yield partial
        for file in partial.iterdir():
            sync_file(file)
        _replace_directory(path, partial)


def remove_partials(directory: Path, name: str) -> None:
    """Remove the partial files and directories of killed writers whose names start with `name`."""
    for left in directory.glob(f".{name}*{_PARTIAL}"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def remove_directory(path: Path) -> None:
    """Remove a directory; if killed midway, no half of it stays under its name."""
    aside = path.with_name(f".{path.name}.old{_PARTIAL}")
    path.rename(aside)
    shutil.rmtree(aside)


def sync_file(path: Path) -> None:
    """Wait until the bytes of a file are on disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_directory(folder: Path) -> None:
    """Wait until the names of the files in `folder` are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _partial_directory(path: Path) -> Generator[Path]:
    partial = path.with_name(f".{path.name}{_PARTIAL}")
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
    # A directory cannot be renamed over a full one, so the old one is moved aside first.
    aside = path.with_name(f".{path.name}.old{_PARTIAL}")
    path.rename(aside)
    partial.rename(path)
    shutil.rmtree(aside)
