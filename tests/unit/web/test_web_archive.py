"""The zip that is written while it is sent."""

import io
import zipfile
from pathlib import Path

from bot.web.archive import Member, stream_zip

MIB = 1 << 20


def test_zip_of_large_files_is_made_block_by_block(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(bytes(20 * MIB))

    sizes = [len(block) for block in stream_zip([Member("a", path), Member("b", path)])]

    assert sum(sizes) > 40 * MIB
    assert max(sizes) < 2 * MIB


def test_files_open_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"weights")

    data = b"".join(stream_zip([Member("high/a.safetensors", path)]))

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("high/a.safetensors") == b"weights"


def test_zip_that_nobody_reads_to_the_end_closes_its_files(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(bytes(3 * MIB))
    blocks = stream_zip([Member("a", path)])
    next(blocks)

    # An open file would warn here, and warnings are errors.
    del blocks
