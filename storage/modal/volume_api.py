"""What this project uses of `modal.Volume`, typed: the library leaves these parts untyped."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import IntEnum
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol


class EntryType(IntEnum):
    """Kinds of entries; the numbers are those of `modal.volume.FileEntryType`."""

    FILE = 1
    DIRECTORY = 2


class VolumeEntry(Protocol):
    """One entry of a listing; `path` begins at the root of the Volume."""

    @property
    def path(self) -> str: ...

    @property
    def type(self) -> int: ...

    @property
    def mtime(self) -> int: ...

    @property
    def size(self) -> int: ...


class Batch(Protocol):
    """Files that are stored together when the batch ends."""

    def put_file(self, local_file: Path | BytesIO, remote_path: str) -> None:
        """Add a file."""
        ...

    def put_directory(self, local_path: Path, remote_path: str) -> None:
        """Add all files of a folder."""
        ...


class Advance(Protocol):
    """Is told how many bytes more there are."""

    def __call__(self, *, advance: int) -> None: ...


class Volume(Protocol):
    """A Volume: its own interface, and the two calls that concern a mount of it."""

    def listdir(self, path: str, *, recursive: bool = False) -> Sequence[VolumeEntry]:
        """Return the entries of a folder, or that of a file."""
        ...

    def read_file(self, path: str) -> Iterator[bytes]:
        """Yield the blocks of a file."""
        ...

    def read_file_into_fileobj(
        self, path: str, fileobj: BinaryIO, progress_cb: Advance | None = None
    ) -> int:
        """Write a file's content to an open file."""
        ...

    def batch_upload(self, *, force: bool = False) -> AbstractContextManager[Batch]:
        """Store files; `force` replaces those that are there."""
        ...

    def remove_file(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or folder."""
        ...

    def commit(self) -> None:
        """Store what was changed in this container's mount."""
        ...

    def reload(self) -> None:
        """Show in this container's mount what others have stored."""
        ...


def counting(watch: Callable[[int], None]) -> Advance:
    """Return what tells `watch` how many bytes there are by now."""
    here_bytes = 0

    def note(*, advance: int) -> None:
        nonlocal here_bytes
        here_bytes += advance
        watch(here_bytes)

    return note
