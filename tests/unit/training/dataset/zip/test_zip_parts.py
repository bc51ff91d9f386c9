"""Parts of split zips and archives of other formats are refused by name, with a fix."""

import io
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from training.dataset.limits import Limits
from training.dataset.zip.archive import ArchiveRefusedError, open_archive

PART_BYTES = 40_000
MIDDLE_PARTS = (
    *("set.z100", "set.zip.02", "set.zip.1000", "set.zipx.002", "set.zx02", "set.ZIP.ab"),
    *("set.zipab", "set.part2.zip", "set.zip.002.zip", "set.z02.zip"),
)


def whole(*, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = comment
        for index in range(6):
            archive.writestr(f"{index}.png", random.Random(index).randbytes(15_000))
            archive.writestr(f"{index}.txt", f"ann1ka {index}")
    return buffer.getvalue()


def cut(content: bytes) -> list[bytes]:
    """Cut as 7-Zip does: the parts joined are the zip."""
    return [content[at : at + PART_BYTES] for at in range(0, len(content), PART_BYTES)]


def spanned() -> list[bytes]:
    """Cut as Info-ZIP's `zip -s` does: a mark in front, and disk numbers in the end record."""
    content = bytearray(b"PK\x07\x08" + whole())
    at = content.rindex(b"PK\x05\x06")
    last = (len(content) - 1) // PART_BYTES
    struct.pack_into("<HH", content, at + 4, last, last)
    return cut(bytes(content))


def refusal(folder: Path, content: bytes, name: str = "set.zip") -> ArchiveRefusedError:
    path = folder / name
    path.write_bytes(content)
    with pytest.raises(ArchiveRefusedError) as caught, open_archive(path, Limits()):
        pass
    return caught.value


@pytest.mark.parametrize(
    ("content", "name", "which"),
    [
        (lambda: cut(whole())[0], "set.zip.001", "the first"),
        (lambda: cut(whole())[1], "set.zip.002", "one"),
        (lambda: cut(whole())[-1], "set.zip.003", "the last"),
        (lambda: cut(whole())[-1], "set.zip", "the last"),
        (lambda: cut(whole(comment=b"by hand"))[-1], "set.zip", "the last"),
        (lambda: spanned()[0], "set.z01", "the first"),
        (lambda: spanned()[0], "set.zip", "the first"),
        (lambda: spanned()[1], "set.z02", "one"),
        (lambda: spanned()[-1], "set.zip", "the last"),
        *((lambda: cut(whole())[1], name, "one") for name in MIDDLE_PARTS),
    ],
)
def test_a_part_of_a_split_zip_is_recognized(
    tmp_path: Path, content: Callable[[], bytes], name: str, which: str
) -> None:
    refused = refusal(tmp_path, content(), name)

    assert refused.code == "split-zip"
    assert refused.cause.startswith(f"This is {which} part of a split zip")
    assert "mode add" in refused.fix
    assert "upload page" in refused.fix


@pytest.mark.parametrize("name", ["set.tar.gz.002", "set.zip.1", "photo.2024", "set.001"])
def test_a_file_with_a_number_at_the_end_is_no_part(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, cut(whole())[1], name).code == "not-a-zip"


@pytest.mark.parametrize(
    "name", ["set.zip.1", "set.zip.001", "set.z01", "set.part1.zip", "set.zip.001.zip"]
)
def test_a_whole_zip_is_opened_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(whole())

    with open_archive(path, Limits()) as archive:
        assert len(archive.members) == 12


def test_a_renamed_first_part_is_reported_as_incomplete_or_a_part(tmp_path: Path) -> None:
    refused = refusal(tmp_path, cut(whole())[0])

    assert refused.code == "truncated-zip"
    assert "first part of a split zip" in refused.fix


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"Rar!\x1a\x07\x01\x00", "set.rar", "the RAR format"),
        (b"Rar!\x1a\x07\x00" + whole(), "set.zip", "the RAR format"),
        (b"Rar!\x1a\x07\x01\x00", "set.part1.rar", "one part of an archive in the RAR format"),
        (b"7z\xbc\xaf\x27\x1c", "set.7z", "the 7-Zip format"),
        (b"7z\xbc\xaf\x27\x1c", "set.zip", "the 7-Zip format"),
        (b"7z\xbc\xaf\x27\x1c", "set.7z.001", "one part of an archive in the 7-Zip format"),
        (b"middle", "set.7z.1000", "one part of an archive in the 7-Zip format"),
        (b"middle", "set.rar.0002", "one part of an archive in the RAR format"),
        (b"middle", "set.r00", "one part of an archive in the RAR format"),
        (b"middle", "set.part2.rar", "one part of an archive in the RAR format"),
        (b"middle", "set.PART2.RAR.zip", "one part of an archive in the RAR format"),
        (b"middle", "set.7z.002", "one part of an archive in the 7-Zip format"),
        (b"\x1f\x8b\x08", "set.tar.gz", "the gzip format"),
        (b"\xfd7zXZ\0", "set.tar.xz", "the xz format"),
        (b"\x28\xb5\x2f\xfd", "set.zst", "the Zstandard format"),
        (b"\x24\x00-lh5-", "set.lzh", "the LHA format"),
        (tar(), "set.tar", "the tar format"),
        (b"\x5d\0\0\x80\0", "set.lzma", "the LZMA format"),
        (b"LZIP\x01", "set.lz", "the lzip format"),
        (b"\x04\x22\x4d\x18", "set.lz4", "the LZ4 format"),
        (b"BZh9", "set.bz2", "the bzip2 format"),
        (b"MSCF", "set.cab", "the CAB format"),
        (b"MSWIM\0\0\0", "set.wim", "the WIM format"),
        (b"ALZ\x01", "set.alz", "the ALZip format"),
        (b"EGGA", "set.egg", "the ALZip format"),
        (b"SIT!", "set.sit", "the StuffIt format"),
        (b"StuffIt (c)1997", "set.sit", "the StuffIt format"),
        (bytes(7) + b"**ACE**", "set.ace", "the ACE format"),
        (bytes(32_769) + b"CD001", "set.iso", "the ISO format"),
        (bytes(5_000) + b"koly" + bytes(444), "set.dmg", "the Apple disk image format"),
    ],
)
def test_an_archive_of_another_format_is_recognized_by_its_content(
    tmp_path: Path, content: bytes, name: str, words: str
) -> None:
    refused = refusal(tmp_path, content + bytes(64), name)

    assert refused.code == "not-a-zip"
    assert words in refused.cause
    assert "zip of its files" in refused.fix


@pytest.mark.parametrize(
    ("content", "name", "cause", "fix"),
    [
        (b"", "set.zip", "The file is empty.", "Download the zip"),
        (b"<!DOCTYPE html>", "set.zip", "not a zip, but a web page", "asks you to log in"),
        (b'{"error": "quota"}', "set.zip", "not a zip, but a JSON file", "may be an error message"),
        (b"\x89PNG\r\n\x1a\n", "set.png", "not a zip, but a PNG image", "Zip your images"),
    ],
)
def test_another_file_is_named_with_its_own_fix(
    content: bytes, name: str, cause: str, fix: str, tmp_path: Path
) -> None:
    refused = refusal(tmp_path, content, name)

    assert refused.code == "not-a-zip"
    assert cause in refused.cause
    assert fix in refused.fix


def test_a_record_that_points_far_outside_the_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(whole())
    at = content.rindex(b"PK\x05\x06")
    content[at:at] = struct.pack("<4sLQL", b"PK\x06\x07", 0, 2**63 + 5, 1)

    assert refusal(tmp_path, bytes(content)).code == "truncated-zip"


def test_a_zip_behind_a_program_is_still_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "set.exe"
    path.write_bytes(b"MZ" + bytes(5_000) + whole(comment=b"self-extracting"))

    with open_archive(path, Limits()) as archive:
        assert len(archive.members) == 12
