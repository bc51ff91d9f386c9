"""Combines the single files and the zips of an upload into one zip."""

import hashlib
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.dataset.limits import Limits
from training.dataset.zip.archive import ArchiveRefusedError, open_archive
from training.errors import DatasetError
from training.files.sizes import size
from training.files.zip_format import add, blocks_of
from training.wording import listed


@dataclass(frozen=True, slots=True)
class GatheredFile:
    """One uploaded file: its path inside the uploaded folder, and where it is stored."""

    path: str
    file: Path

    @property
    def is_zip(self) -> bool:
        return self.path.lower().endswith(".zip")


def gather(files: Sequence[GatheredFile], target: Path, limits: Limits | None = None) -> Path:
    """Write one zip of all files to `target` and return its path.

    A single uploaded zip is returned as it is. If several zips hold the same file at the same path,
    it is written once.

    Raises:
        DatasetError: There are no files, or two files have the same path but different content.
        ArchiveRefusedError: One of several zips cannot be opened, or is not safe to unpack.
    """
    if not files:
        raise DatasetError("There are no files.", "Add a zip, a folder or single files.")
    if len(files) == 1 and files[0].is_zip:
        return files[0].file
    writing = _Writing(limits or Limits())
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as writing.zip_file:
        for file in files:
            if file.is_zip:
                writing.add_zip(file)
            else:
                writing.add_file(file)
    if writing.clashes:
        raise _clash(writing.clashes)
    return target


class _Writing:
    """The zip being written. It remembers which upload each of its files came from."""

    zip_file: zipfile.ZipFile

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # The upload that each file came from, and the file's hash, keyed by its path.
        self._written: dict[str, tuple[str, str]] = {}
        self._unpacked_bytes = 0
        self.clashes: list[str] = []

    def add_file(self, file: GatheredFile) -> None:
        self._add(file.path, _chunks(file.file), "the folder", file.file.stat().st_size)

    def add_zip(self, file: GatheredFile) -> None:
        try:
            with open_archive(file.file, self._limits) as archive:
                for member in archive.members:
                    chunks = archive.chunks(member)
                    self._add(member.path, chunks, file.path, member.size_bytes)
        except ArchiveRefusedError as error:
            raise ArchiveRefusedError(
                f"{file.path}: {error.cause}", error.fix, error.code
            ) from error

    def _add(self, path: str, chunks: Iterator[bytes], origin: str, size_bytes: int) -> None:
        known = self._written.get(path)
        digest = hashlib.sha256()
        hashed = _each_to(digest.update, chunks)
        if known is not None:
            deque(hashed, maxlen=0)
            if digest.hexdigest() != known[1]:
                self.clashes.append(f"{path} ({known[0]} and {origin})")
            return
        self._unpacked_bytes += size_bytes
        if self._unpacked_bytes > self._limits.unpacked_bytes:
            raise DatasetError(
                f"Unpacked, the files would take more than {size(self._limits.unpacked_bytes)}.",
                "Split the dataset, or shorten the clips.",
            )
        add(self.zip_file, path, hashed)
        self._written[path] = (origin, digest.hexdigest())


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        yield from blocks_of(source)


def _each_to(take: Callable[[bytes], None], chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Pass each chunk to `take`, then yield it."""
    for chunk in chunks:
        take(chunk)
        yield chunk


def _clash(clashes: list[str]) -> DatasetError:
    return DatasetError(
        f"Several files have the same name and different content: {listed(clashes)}.",
        "Rename them, or put them into separate folders, and add them again.",
    )
