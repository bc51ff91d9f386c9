"""Files and directories that appear under their name only when complete.

The standard library alone is imported, because this also runs inside musubi-tuner's environment.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_PARTIAL = ".partial"


@contextmanager
def whole_file(path: Path) -> Generator[BinaryIO]:
    """Give a stream whose bytes get the name `path` at the end; nothing remains of a failure."""
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_path(path: Path) -> Generator[Path]:
    """Give a path of the same file name for a writer that opens its file itself.

    What it writes there gets the name `path` at the end; nothing remains of a failure.
    """
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial / path.name
        _sync(partial / path.name)
        (partial / path.name).replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def whole_directory(path: Path) -> Generator[Path]:
    """Give a directory that gets the name `path` at the end; nothing remains of a failure."""
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for file in partial.iterdir():
            _sync(file)
        _replace_directory(path, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_partials(directory: Path, name: str) -> None:
    """Remove what a killed writer left of files and directories that start with `name`."""
    for left in directory.glob(f".{name}*{_PARTIAL}"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def remove_directory(path: Path) -> None:
    """Remove a directory so that a kill leaves no half of it under its name."""
    aside = path.with_name(f".{path.name}.old{_PARTIAL}")
    path.rename(aside)
    shutil.rmtree(aside)


def _replace_directory(path: Path, partial: Path) -> None:
    if not path.exists():
        partial.rename(path)
        return
    # A directory cannot be renamed over a full one; the old one steps aside for a moment.
    aside = path.with_name(f".{path.name}.old{_PARTIAL}")
    path.rename(aside)
    partial.rename(path)
    shutil.rmtree(aside)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
