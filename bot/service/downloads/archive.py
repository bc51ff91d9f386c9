"""Lays out a zip of checkpoints from recorded sizes and checksums, without reading the files.

Source: APPNOTE 6.3.10, sections 4.3 to 4.5. Files are stored uncompressed, because compression does
not make weights smaller.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.service.downloads.content import FileRange, Piece, piece_bytes
from training.files.zip_format import (
    EARLIEST,
    END,
    END_MARK,
    FILE_MARK,
    ZIP64_END,
    ZIP64_END_MARK,
    ZIP64_LOCATOR,
    ZIP64_LOCATOR_MARK,
)

_EARLIEST = datetime(*EARLIEST, tzinfo=UTC)
_MOST_32, _MOST_16 = 0xFFFFFFFF, 0xFFFF
_UTF8_NAME = 0x800
_VERSION, _VERSION_64, _UNIX = 20, 45, 3 << 8
_MODE = (0o100644 << 16) & _MOST_32
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One entry of a zip: a name, and either a stored file or the content itself."""

    name: str
    source: Piece
    saved_at: datetime = _EARLIEST

    @property
    def size_bytes(self) -> int:
        return piece_bytes(self.source)

    @property
    def crc32(self) -> int:
        return self.source.crc32 if isinstance(self.source, FileRange) else zlib.crc32(self.source)


def zip_pieces(members: Sequence[ZipMember]) -> list[Piece]:
    """Return the pieces of a zip in order: headers as bytes, members as files or bytes."""
    pieces: list[Piece] = []
    directory: list[bytes] = []
    offset = 0
    for member in members:
        header = _local_header(member)
        directory.append(_directory_entry(member, offset))
        pieces += (header, member.source)
        offset += len(header) + member.size_bytes
    return [*pieces, b"".join(directory) + _end(len(members), sum(map(len, directory)), offset)]


def _local_header(member: ZipMember) -> bytes:
    name, size_bytes = member.name.encode(), member.size_bytes
    is_large = size_bytes >= _MOST_32
    extra = struct.pack("<2H2Q", 1, 16, size_bytes, size_bytes) if is_large else b""
    shown = _MOST_32 if is_large else size_bytes
    fields = (*_common(member, is_large=is_large), member.crc32, shown, shown)
    return _LOCAL.pack(FILE_MARK, *fields, len(name), len(extra)) + name + extra


def _directory_entry(member: ZipMember, offset: int) -> bytes:
    name, size_bytes = member.name.encode(), member.size_bytes
    large = [size_bytes, size_bytes] if size_bytes >= _MOST_32 else []
    large += [offset] if offset >= _MOST_32 else []
    extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    shown = min(size_bytes, _MOST_32)
    version = _UNIX | (_VERSION_64 if large else _VERSION)
    common = _common(member, is_large=bool(large))
    lengths = (len(name), len(extra), 0, 0, 0)  # no comment, disk 0, no internal attributes
    fields = (version, *common, member.crc32, shown, shown, *lengths, _MODE, min(offset, _MOST_32))
    return _CENTRAL.pack(b"PK\x01\x02", *fields) + name + extra


def _common(member: ZipMember, *, is_large: bool) -> tuple[int, int, int, int, int]:
    """Return the fields that both headers of a member share: version, flags, method, time, date."""
    at = max(member.saved_at, _EARLIEST)
    time = at.hour << 11 | at.minute << 5 | at.second // 2
    date = at.year - 1980 << 9 | at.month << 5 | at.day
    return _VERSION_64 if is_large else _VERSION, _UTF8_NAME, 0, time, date


def _end(count: int, directory_bytes: int, offset: int) -> bytes:
    is_large = count >= _MOST_16 or directory_bytes >= _MOST_32 or offset >= _MOST_32
    end_64 = b""
    if is_large:
        version = (_UNIX | _VERSION_64, _VERSION_64)
        counts = (0, 0, count, count, directory_bytes, offset)
        end_64 = ZIP64_END.pack(ZIP64_END_MARK, ZIP64_END.size - 12, *version, *counts)
        end_64 += ZIP64_LOCATOR.pack(ZIP64_LOCATOR_MARK, 0, offset + directory_bytes, 1)
    shown = (min(count, _MOST_16), min(count, _MOST_16))
    sizes = (min(directory_bytes, _MOST_32), min(offset, _MOST_32))
    return end_64 + END.pack(END_MARK, 0, 0, *shown, *sizes, 0)
