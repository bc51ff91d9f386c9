"""A file that is being uploaded, possibly with interruptions.

The received bytes are stored as parts of at most 64 MiB, each in a separate file. A Modal Volume
stores only whole files, so a single growing file would be stored again and again.
"""

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from training.files.atomic import link_or_copy, sync_directory, sync_file
from training.files.sizes import MIB

PART_BYTES = 64 * MIB
_COPY_BYTES = MIB
_MOST_BLOCKS = 512  # blocks in one system call; Linux accepts up to 1,024


class WrongOffsetError(ValueError):
    """Data was sent for an offset other than that of the next missing byte."""


class FileFacts(BaseModel):
    """The facts that the sender states about a file.

    Attributes:
        path: Path inside the uploaded folder, with forward slashes.
        modified_ms: Time of the last change, in milliseconds since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    size_bytes: int
    modified_ms: int = 0

    @property
    def id(self) -> str:
        """An id that is the same when the file is sent again, so that the upload can continue."""
        text = f"{self.path}\n{self.size_bytes}\n{self.modified_ms}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Part:
    start: int
    size_bytes: int
    path: Path

    @property
    def end(self) -> int:
        return self.start + self.size_bytes


class IncomingFile:
    """A file that is being uploaded; its parts are in a local folder."""

    def __init__(self, folder: Path, facts: FileFacts) -> None:
        self.facts = facts
        self._folder = folder
        self._writing = threading.Lock()
        self._sealed = -1  # parts that start at this offset or before it are sealed

    @property
    def received_bytes(self) -> int:
        """How many bytes have arrived without a gap, counted from the beginning of the file."""
        return max((part.end for part in self._parts()), default=0)

    @property
    def is_complete(self) -> bool:
        return self.received_bytes == self.facts.size_bytes

    def seal(self) -> list[Path]:
        """Seal all parts, so that they never change again; return the newly sealed paths."""
        with self._writing:
            parts = [part for part in self._parts() if part.start > self._sealed]
            self._sealed = parts[-1].start if parts else self._sealed
            return [part.path for part in parts]

    def writer(self, offset: int) -> "PartWriter":
        """Return a writer that appends from `offset` on.

        Raises:
            WrongOffsetError: The next missing byte is not at `offset`.
        """
        if offset != self.received_bytes:
            raise WrongOffsetError(f"The next byte is {self.received_bytes}, not {offset}")
        return PartWriter(self, offset)

    def copy_to(self, target: Path) -> None:
        """Put the complete file at `target`; link to the part if there is only one.

        Raises:
            ValueError: Some bytes of the file are missing.
        """
        if not self.is_complete:
            raise ValueError(f"{self.facts.path} is not complete")
        parts, written = list(self._parts()), 0
        if len(parts) == 1:
            link_or_copy(parts[0].path, target)
            return
        with target.open("wb") as file:
            for part in parts:
                with part.path.open("rb") as source:
                    source.seek(written - part.start)
                    shutil.copyfileobj(source, file, _COPY_BYTES)
                written = part.end

    def sync(self) -> None:
        """Wait until all received bytes are on disk."""
        for part in self._parts():
            sync_file(part.path)
        sync_directory(self._folder)

    def delete(self) -> None:
        for path in self._folder.glob(f"{self.facts.id}.*"):
            path.unlink(missing_ok=True)

    def open_part(self, offset: int) -> tuple[int, int]:
        """Open the part for the byte at `offset`; return its start offset and a file descriptor."""
        newest = max(self._parts(), key=lambda part: part.start, default=None)
        is_usable = (
            newest is not None
            and newest.start > self._sealed
            and newest.end == offset
            and newest.size_bytes < PART_BYTES
        )
        start = newest.start if newest is not None and is_usable else offset
        path = self._folder / f"{self.facts.id}.{start:015d}"
        # An earlier run of the bot may have left a part with this name; overwrite it.
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if is_usable else os.O_TRUNC)
        return start, os.open(path, flags, 0o600)

    def append(self, start: int, fd: int, blocks: Sequence[memoryview]) -> int:
        """Append to the part that begins at `start`, unless it is sealed.

        Return the number of bytes written; 0 if the part is sealed.
        """
        with self._writing:
            return os.writev(fd, blocks) if start > self._sealed else 0

    def _parts(self) -> Iterator[_Part]:
        """Yield the parts, in order, up to the first missing byte; parts may overlap."""
        found = [
            _Part(int(path.suffix[1:]), path.stat().st_size, path)
            for path in self._folder.glob(f"{self.facts.id}.*")
            if path.suffix[1:].isdecimal()
        ]
        end = 0
        for part in sorted(found, key=lambda part: (part.start, part.size_bytes)):
            if part.start > end:
                return
            if part.end > end:
                end = part.end
                yield part


class PartWriter:
    """Appends to a file that is being uploaded; only one thread may use it at a time."""

    def __init__(self, file: IncomingFile, offset: int) -> None:
        self.offset = offset
        self._file = file
        self._start = self._fd = -1

    def write(self, blocks: Sequence[bytes]) -> None:
        """Append blocks of bytes; if an error occurs, the bytes already written stay.

        Raises:
            ValueError: The blocks go beyond the announced size of the file.
            OSError: The disk is full.
        """
        views = [memoryview(block) for block in blocks]
        if self.offset + sum(map(len, views)) > self._file.facts.size_bytes:
            raise ValueError(f"more bytes than the {self._file.facts.size_bytes} announced")
        while views:
            room = self._start + PART_BYTES - self.offset
            if self._fd < 0 or room <= 0:
                self._next_part()
                continue
            written = self._file.append(self._start, self._fd, _first(views, room))
            if written == 0:
                self._next_part()
            self.offset += written
            views = _rest(views, written)

    def close(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = -1

    def _next_part(self) -> None:
        self.close()
        self._start, self._fd = self._file.open_part(self.offset)


def _first(views: Sequence[memoryview], size_bytes: int) -> list[memoryview]:
    """Return the beginning of `views`: at most `size_bytes` bytes, and at most 512 blocks."""
    found: list[memoryview] = []
    for view in views[:_MOST_BLOCKS]:
        if size_bytes <= 0:
            break
        found.append(view[:size_bytes])
        size_bytes -= len(view)
    return found


def _rest(views: Sequence[memoryview], written: int) -> list[memoryview]:
    """Return `views` without their first `written` bytes."""
    rest = list(views)
    while rest and written >= len(rest[0]):
        written -= len(rest.pop(0))
    if written:
        rest[0] = rest[0][written:]
    return rest
