"""Zips whose names are stored as given bytes, with or without flag and extra field."""

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stored:
    """A name as a zip tool writes it."""

    raw: bytes
    content: bytes | str = b"x"
    extra: bytes = b""
    is_flagged: bool = False


class _Info(zipfile.ZipInfo):
    """An entry that is written with these bytes for a name."""

    raw: bytes = b""
    is_flagged = False

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802  # zipfile's own
        return self.raw, 0x800 if self.is_flagged else 0


def zip_of(*entries: Stored) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index, entry in enumerate(entries):
            info = _Info(f"{index}")
            info.raw, info.is_flagged, info.extra = entry.raw, entry.is_flagged, entry.extra
            archive.writestr(info, entry.content)
    return buffer.getvalue()


def unicode_path(raw: bytes, name: str) -> bytes:
    """Return Info-ZIP's Unicode path extra field."""
    content = struct.pack("<BI", 1, zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", 0x7075, len(content)) + content


def encoded(names: Sequence[str], codec: str) -> list[Stored]:
    return [Stored(name.encode(codec)) for name in names]
