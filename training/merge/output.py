"""The output of a merge: hidden until it is complete, and written by one process at a time."""

import fcntl
import logging
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from training.errors import MergeError
from training.files.atomic import atomic_write, sync_directory
from training.merge.disk.file_io import reserve
from training.merge.inputs.files import BaseFiles, FileLayout
from training.merge.receipt import Receipt, receipt_path

logger = logging.getLogger(__name__)


class Staging:
    """The hidden path where an output is written before it is published.

    Its name is the same for every attempt, so that the next attempt removes what a killed one
    left. Only the holder of `exclusive(output_root(...))` may use it.
    """

    def __init__(self, base: BaseFiles, output: Path) -> None:
        self._base = base
        self._output = output
        self._root = output_root(base, output)
        self._partial = self._root.with_name(f".{self._root.name}.partial")
        is_inside = self._root != output
        self._receipt = receipt_path(self._partial / output.name if is_inside else output)

    def create(self) -> None:
        """Reserve space for every file and write its header, a copy of the base's."""
        self.discard()
        if self._base.index is not None:
            self._partial.mkdir()
            name = self._base.path.name if self._output == self._root else self._output.name
            atomic_write(self._partial / name, self._base.index)
        for file in self._base.files:
            with self.path_of(file).open("xb") as stream:
                reserve(stream.fileno(), file.size_bytes)
                stream.write(file.header)

    def path_of(self, file: FileLayout) -> Path:
        """Return the staged path of the output for this file of the base."""
        return self._partial if self._base.index is None else self._partial / file.path.name

    def sync(self) -> None:
        """Wait until every byte is on disk."""
        for file in self._base.files:
            with self.path_of(file).open("rb") as stream:
                os.fsync(stream.fileno())

    def publish(self, receipt: Receipt) -> None:
        """Publish the receipt, then the output, so that no output is without a receipt."""
        atomic_write(self._receipt, receipt.to_json().encode())
        if self._base.index is not None:
            sync_directory(self._partial)
        self._partial.rename(self._root)
        sync_directory(self._root.parent)

    def discard(self) -> None:
        """Remove everything unpublished."""
        if self._partial.is_dir():
            shutil.rmtree(self._partial)
        self._partial.unlink(missing_ok=True)
        if not self._root.exists():
            self._receipt.unlink(missing_ok=True)


def refuse_unfit(base: BaseFiles, lora: FileLayout, output: Path) -> None:
    """Refuse an output that is an input, contains one, or is a folder instead of a file.

    Raises:
        MergeError: Names the problem; nothing has been changed.
    """
    root = output_root(base, output).resolve()
    bases = {base.path.resolve(), *(file.path.resolve() for file in base.files)}
    if base.index is not None:
        bases.add(base.path.parent.resolve())
    for kind, paths in (("base", bases), ("LoRA", {lora.path.resolve()})):
        if root in paths:
            raise MergeError(f"{output} is the {kind} itself.", "Choose another output.")
        if any(root in path.parents for path in paths):
            raise MergeError(f"{output} contains the {kind}.", "Choose another output.")
    if base.index is None and root.is_dir():
        raise MergeError(
            f"{output} is a folder, and the base is a single file.", "Name a file as output."
        )


def output_root(base: BaseFiles, output: Path) -> Path:
    """Return the path that is published: the file, or the folder of a sharded model."""
    return output.parent if base.index is not None and output.suffix == ".json" else output


def is_taken(root: Path) -> bool:
    """Return whether `root` exists and is not an empty folder."""
    return any(root.iterdir()) if root.is_dir() else root.exists()


@contextmanager
def exclusive(root: Path) -> Generator[None]:
    """Hold the lock for writing `root`; wait while another process or thread holds it."""
    root.parent.mkdir(parents=True, exist_ok=True)
    path = root.with_name(f".{root.name}.lock")
    while (descriptor := _lock(path)) is None:
        pass
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _lock(path: Path) -> int | None:
    """Return a locked descriptor of the file at `path`; None if that file was replaced.

    A holder deletes the lock file before it unlocks it. A lock that was waited for may therefore
    be on a deleted file, while a third process already holds the new one.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.info("waiting for the merge that holds %s", path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
        return descriptor
    os.close(descriptor)
    return None
