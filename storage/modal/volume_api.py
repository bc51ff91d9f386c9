"""Types for the parts of `modal.Volume` that this project uses; the library leaves them untyped."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from enum import IntEnum
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol


class EntryType(IntEnum):
    """Values of `modal.volume.FileEntryType`."""

    FILE = 1
    DIRECTORY = 2


class VolumeEntry(Protocol):
    """One entry of a listing; `path` is relative to the root of the Volume."""

    @property
    def path(self) -> str: ...

    @property
    def type(self) -> int: ...

    @property
    def mtime(self) -> int: ...

    @property
    def size(self) -> int: ...


class Batch(Protocol):
    """Files that are uploaded together when the batch ends."""

    def put_file(self, local_file: Path | BytesIO, remote_path: str) -> None: ...

    def put_directory(self, local_path: Path, remote_path: str) -> None: ...


class Advance(Protocol):
    """A callback that gets the number of bytes transferred since it was last called."""

    def __call__(self, *, advance: int) -> None: ...


class Volume(Protocol):
    """A Volume; methods use Modal's API, except that `commit` and `reload` act on the mount."""

    def listdir(self, path: str, *, recursive: bool = False) -> Sequence[VolumeEntry]:
        """Return the entries of a folder, or the entry of a file."""
        ...

    def read_file(self, path: str) -> Iterator[bytes]: ...

    def read_file_into_fileobj(
        self, path: str, fileobj: BinaryIO, progress_cb: Advance | None = None
    ) -> int: ...

    def batch_upload(self, *, force: bool = False) -> AbstractContextManager[Batch]:
        """Upload files; `force` replaces existing ones."""
        ...

    def remove_file(self, path: str, *, recursive: bool = False) -> None: ...

    def commit(self) -> None:
        """Persist changes made in this container's mount."""
        ...

    def reload(self) -> None:
        """Update this container's mount to the latest commit."""
        ...


def counting(watch: Callable[[int], None]) -> Advance:
    """Return a callback that adds up transferred bytes and reports the total to `watch`."""
    total_bytes = 0

    def note(*, advance: int) -> None:
        nonlocal total_bytes
        total_bytes += advance
        watch(total_bytes)

    return note
