"""The zip that is written while it is sent."""

import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bot.service.downloads.archive import Stored, ZipMember, stream_zip
from storage.local.store import FolderStore

MIB = 1 << 20


def member(name: str, folder: Path, data: bytes) -> ZipMember:
    store = FolderStore(folder)
    store.write("a.safetensors", data)
    saved_at = datetime(2026, 1, 1, tzinfo=UTC)
    return ZipMember(name, Stored(store, "a.safetensors", saved_at, len(data)))


def test_zip_of_large_files_is_made_block_by_block(tmp_path: Path) -> None:
    members = [member(name, tmp_path, bytes(20 * MIB)) for name in ("a", "b")]

    sizes = [len(block) for block in stream_zip(members)]

    assert sum(sizes) > 40 * MIB
    assert max(sizes) < 2 * MIB


def test_files_open_as_they_were(tmp_path: Path) -> None:
    whole = member("high/a.safetensors", tmp_path, b"weights")

    data = b"".join(stream_zip([whole]))

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("high/a.safetensors") == b"weights"


def open_below(folder: Path) -> list[str]:
    """Return the files below a folder that this process has open."""
    paths = [its.path for its in psutil.Process().open_files()]
    return [path for path in paths if Path(path).is_relative_to(folder)]


def test_zip_that_nobody_reads_to_the_end_closes_its_files(tmp_path: Path) -> None:
    blocks = stream_zip([member("a", tmp_path, bytes(3 * MIB))])
    next(blocks)
    while_reading = open_below(tmp_path)

    del blocks

    assert len(while_reading) == 1
    assert open_below(tmp_path) == []
