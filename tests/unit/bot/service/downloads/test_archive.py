"""The zip whose bytes are computed without reading a file."""

import io
import random
import struct
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from bot.service.downloads.archive import ZipMember, zip_pieces
from bot.service.downloads.content import FileRange, blocks, content, piece_bytes
from storage.local.store import FolderStore
from training.errors import NotFoundError

MIB = 1 << 20
SAVED_AT = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)


def member(name: str, folder: Path, data: bytes) -> ZipMember:
    store = FolderStore(folder)
    store.write("a.safetensors", data)
    part = FileRange.of(store, "a.safetensors", len(data), zlib.crc32(data))
    return ZipMember(name, part, SAVED_AT)


def test_a_zip_opens_with_the_same_files(tmp_path: Path) -> None:
    members = [
        ZipMember("README.txt", b"read me"),
        member("high/käthe.safetensors", tmp_path, b"weights"),
    ]

    data = b"".join(blocks(zip_pieces(members)))

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.read("README.txt") == b"read me"
        assert archive.read("high/käthe.safetensors") == b"weights"
        assert archive.getinfo("high/käthe.safetensors").date_time == (2026, 1, 2, 3, 4, 6)


def test_every_part_is_a_slice_of_the_same_bytes(tmp_path: Path) -> None:
    members = [member("a", tmp_path, random.Random(1).randbytes(5000)), ZipMember("b", b"two")]
    whole = content("a.zip", "application/zip", zip_pieces(members))
    data = b"".join(blocks(whole.pieces))

    assert whole.size_bytes == len(data)
    for start, stop in [(0, 1), (10, 60), (4000, 5100), (len(data) - 1, len(data)), (7, 7)]:
        assert b"".join(blocks(list(whole.part(start, stop)))) == data[start:stop]


def test_zips_beyond_four_gigabytes_have_the_fields_for_it(tmp_path: Path) -> None:
    size_bytes, crc32 = (4 << 30) + 5, 0x12345678
    large = FileRange.of(FolderStore(tmp_path), "large", size_bytes, crc32)
    pieces = zip_pieces([ZipMember("large", large), ZipMember("small", b"xyz")])

    with (tmp_path / "large.zip").open("wb") as file:
        for piece in pieces:
            if isinstance(piece, bytes):
                file.write(piece)
            else:
                file.seek(piece_bytes(piece), io.SEEK_CUR)  # leaves a hole

    with zipfile.ZipFile(tmp_path / "large.zip") as archive:
        first, second = archive.infolist()
        assert (first.file_size, first.CRC) == (size_bytes, crc32)
        assert second.header_offset > size_bytes
        assert archive.read("small") == b"xyz"
    header = pieces[0]
    assert isinstance(header, bytes)
    assert struct.unpack_from("<QQ", header, len(header) - 16) == (size_bytes, size_bytes)


def test_etag_changes_with_the_checksum_of_a_file(tmp_path: Path) -> None:
    first, second = (
        content("a.zip", "application/zip", zip_pieces([member("a", tmp_path, data)]))
        for data in (b"one", b"two")
    )

    assert first.size_bytes == second.size_bytes
    assert first.etag != second.etag


def test_a_file_that_differs_from_its_record_is_not_sent(tmp_path: Path) -> None:
    whole = member("a", tmp_path, b"weights")
    FolderStore(tmp_path).write("a.safetensors", b"others, longer")

    with pytest.raises(NotFoundError, match="is damaged: it has 14 bytes instead of 7"):
        list(blocks([whole.source]))


def open_below(folder: Path) -> list[str]:
    """Return the files below a folder that this process has open."""
    paths = [its.path for its in psutil.Process().open_files()]
    return [path for path in paths if Path(path).is_relative_to(folder)]


def test_a_partly_read_zip_keeps_no_file_open(tmp_path: Path) -> None:
    reading = blocks([member("a", tmp_path, bytes(3 * MIB)).source])

    next(reading)

    assert open_below(tmp_path) == []
    assert sum(map(len, reading)) == 2 * MIB
