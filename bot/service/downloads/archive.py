"""A run's checkpoints as one zip that is written while it is sent, never stored."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from training.ports import Store

_BLOCK_BYTES = 1 << 20
_EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)  # what the format can say at the earliest


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the store, and when it was saved; it is fetched only when it is read."""

    store: Store
    key: str
    saved_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One file, or its content, and the name it gets in the zip."""

    name: str
    source: Stored | bytes

    def open(self) -> io.BufferedIOBase:
        """Return the content for reading."""
        if isinstance(self.source, bytes):
            return io.BytesIO(self.source)
        return self.source.store.fetch(self.source.key).open("rb")


def stream_zip(members: Sequence[ZipMember]) -> Iterator[bytes]:
    """Yield a zip of the files, not compressed: weights do not shrink, and time would be lost.

    One block is held in memory at a time, however large the files are.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for member in members:
            with (
                member.open() as source,
                archive.open(_info(member), "w", force_zip64=True) as target,
            ):
                while block := source.read(_BLOCK_BYTES):
                    target.write(block)
                    yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """Takes what the zip writer writes and gives it away; it cannot be sought in."""

    def __init__(self) -> None:
        super().__init__()
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override]
        self._data += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._data)
        self._data.clear()
        return taken


def _info(member: ZipMember) -> zipfile.ZipInfo:
    saved = _EARLIEST
    if isinstance(member.source, Stored):
        saved = max(member.source.saved_at, _EARLIEST)
    info = zipfile.ZipInfo(member.name, saved.timetuple()[:6])
    info.external_attr = 0o644 << 16
    return info
