"""The output of a merge: hidden until it is complete, and written by one process at a time."""

import fcntl
import logging
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from training.errors import MergeError
from training.files.atomic import atomic_write, publish, sync_directory, sync_file
from training.merge.disk.file_io import reserve
from training.merge.inputs.files import BaseFiles, FileLayout
from training.merge.receipt import Receipt, receipt_path

logger = logging.getLogger(__name__)


class Staging:
    """The hidden path where an output is written before it is published.

    Every attempt uses the same path, so an attempt can remove the files of a killed one. Only
    the holder of the lock `exclusive(output_root(...))` may use the path.
    """

    def __init__(self, base: BaseFiles, output: Path) -> None:
        self._base = base
        self._output = output
        self._root = output_root(base, output)
        self._partial = self._root.with_name(f".{self._root.name}.partial")
        is_inside = self._root != output
        self._receipt = receipt_path(self._partial / output.name if is_inside else output)

    def create(self) -> None:
        """Create every file at its full size, with the header of the base's file."""
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
        """Return the hidden path where the merged version of a base file is written."""
        return self._partial if self._base.index is None else self._partial / file.path.name

    def sync(self) -> None:
        for file in self._base.files:
            sync_file(self.path_of(file))

    def publish(self, receipt: Receipt) -> None:
        """Publish the receipt, then the output, so that no output is ever without a receipt."""
        atomic_write(self._receipt, receipt.to_json().encode())
        if self._base.index is not None:
            sync_directory(self._partial)
        publish(self._partial, self._root)

    def discard(self) -> None:
        if self._partial.is_dir():
            shutil.rmtree(self._partial)
        self._partial.unlink(missing_ok=True)
        if not self._root.exists():
            self._receipt.unlink(missing_ok=True)


def refuse_unfit(base: BaseFiles, lora: FileLayout, output: Path) -> None:
    """Refuse an output that would overwrite an input or replace a folder with a file.

    Raises:
        MergeError: The output is or contains an input, or is a folder although the base is a file.
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
            f"{output} is a folder, but the base is a single file.", "Choose a file as output."
        )


def output_root(base: BaseFiles, output: Path) -> Path:
    """Return the path that a merge publishes: the output file, or a sharded model's folder."""
    return output.parent if base.index is not None and output.suffix == ".json" else output


def is_taken(root: Path) -> bool:
    """Return whether something exists at `root`; an empty folder does not count."""
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
    """Lock the file at `path` and return its descriptor; None if it was deleted during the wait.

    A holder deletes the lock file before it unlocks it. A waiting process may therefore get the
    lock of a deleted file, while another process already holds a new file at the same path.
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
