"""Distinguishes complete zips from parts of split zips and from other archives.

Only the first and last bytes of a file are read.
"""

import re
from dataclasses import dataclass
from typing import BinaryIO

from training.dataset.file_kinds import FileKind, file_kind
from training.files.zip_format import (
    END,
    END_MARK,
    FILE_MARK,
    ZIP64_END,
    ZIP64_END_MARK,
    ZIP64_LOCATOR,
    ZIP64_LOCATOR_MARK,
)

_SPLIT_MARK = b"PK\x07\x08"
_LONGEST_COMMENT = 65_535  # bytes
_FORMATS = (  # offset, magic bytes, name
    (0, b"Rar!\x1a\x07", "RAR"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\xfd7zX", "xz"),
    (0, b"\x5d\0\0\x80\0", "LZMA"),
    (0, b"LZIP", "lzip"),
    (0, b"\x04\x22\x4d\x18", "LZ4"),
    (0, b"BZh", "bzip2"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard"),
    (0, b"MSCF", "CAB"),
    (0, b"MSWIM\0\0\0", "WIM"),
    (0, b"ALZ\x01", "ALZip"),
    (0, b"EGGA", "ALZip"),
    (0, b"SIT!", "StuffIt"),
    (0, b"StuffIt", "StuffIt"),
    (2, b"-lh", "LHA"),
    (7, b"**ACE**", "ACE"),
    (257, b"ustar", "tar"),
    (32_769, b"CD001", "ISO"),
)
_HEAD_BYTES = 33_000
_DISK_IMAGE, _DISK_IMAGE_END = b"koly", 512  # bytes from the end of Apple's disk images
# Names of parts: .zip.001 by 7-Zip, .z01 by zip and WinZip, .part1.rar or .r00 by RAR, .zip.aa or
# .zipaa by split, .part1.zip by hand. If there are many parts, their numbers have three or four
# digits. A single digit does not mean a part: wget saves a second copy of a whole set.zip as
# set.zip.1.
_NUMBER = r"\.(?:\d{2,4}|part\d+|a[a-z])"
_PARTS = {
    "zip": rf"\.zipx?{_NUMBER}|\.zx?\d{{2,4}}|\.zip[ab][a-z]|\.part\d+(?=\.zip$)",
    "7-Zip": rf"\.7z{_NUMBER}",
    "RAR": rf"\.rar{_NUMBER}|\.r\d\d|\.part\d+\.rar",
}
# Matching ignores case. The upload page uses this pattern too, so it must mean the same in
# JavaScript. Some people add .zip to a part's name, because some chat programs and phones accept
# no other extension.
PART_NAME = rf"(?:{'|'.join(_PARTS.values())})(?:\.zip)?$"


@dataclass(frozen=True, slots=True)
class Directory:
    """The central directory at the end of a complete zip: its number of entries and its size."""

    entries: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a split zip; `which` is "the first", "the last", or "one" if unknown."""

    which: str


@dataclass(frozen=True, slots=True)
class OtherFormat:
    """An archive in another format, or a file of an unknown kind.

    Attributes:
        name: The format, such as "RAR"; None if it is unknown.
        is_part: Whether the file is one part of a split archive.
    """

    name: str | None = None
    is_part: bool = False


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A file that is not an archive."""

    kind: FileKind


@dataclass(frozen=True, slots=True)
class Nothing:
    """An empty file."""


@dataclass(frozen=True, slots=True)
class CutOff:
    """A zip whose end is missing."""


NotWhole = Part | OtherFormat | OtherFile | Nothing | CutOff


def is_part_name(name: str) -> bool:
    """Return whether a file is named like a part of a split archive, such as `a.zip.001`."""
    return re.search(PART_NAME, name, re.IGNORECASE) is not None


def read_directory(file: BinaryIO, name: str) -> Directory | NotWhole:
    """Return the directory of a complete zip; for any other file, return what it is.

    The file's `name` is needed because some parts of a split zip look like a zip whose end is
    missing.
    """
    size_bytes = file.seek(0, 2)
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    for offset, magic, form in _FORMATS:
        if head[offset:].startswith(magic):
            return OtherFormat(form, is_part_name(name))
    file.seek(max(0, size_bytes - _LONGEST_COMMENT - END.size - ZIP64_LOCATOR.size))
    start, tail = file.tell(), file.read()
    at = tail.rfind(END_MARK)
    if at >= 0 and len(tail) - at >= END.size:
        return _ended(file, tail, at, start + at, is_headless=not head.startswith(FILE_MARK))
    if head.startswith(_SPLIT_MARK):
        return Part("the first")
    if head.startswith(FILE_MARK):
        return Part("the first") if is_part_name(name) else CutOff()
    if tail[-_DISK_IMAGE_END:].startswith(_DISK_IMAGE):
        return OtherFormat("Apple disk image")
    return _unknown(head, name)


def _unknown(head: bytes, name: str) -> Part | OtherFormat | OtherFile | Nothing:
    """Recognize a file that does not look like an archive, by its name or its first bytes."""
    if not head:
        return Nothing()
    for form, ending in _PARTS.items():
        if re.search(rf"(?:{ending})(?:\.zip)?$", name, re.IGNORECASE):
            return Part("one") if form == "zip" else OtherFormat(form, is_part=True)
    kind = file_kind(head)
    return OtherFormat() if kind is None else OtherFile(kind)


def _ended(
    file: BinaryIO, tail: bytes, at: int, end: int, *, is_headless: bool
) -> Directory | Part | CutOff:
    """Return the directory that an end record describes; else `Part` or `CutOff`.

    The record starts at offset `at` in `tail`, and at offset `end` in `file`. `is_headless` means
    that the file does not begin like a zip.
    """
    _, disk, first_disk, here, entries, size_bytes, offset, _ = END.unpack_from(tail, at)
    locator, directory_end = at - ZIP64_LOCATOR.size, end
    if locator >= 0 and tail[locator:].startswith(ZIP64_LOCATOR_MARK):
        _, _, record_at, disks = ZIP64_LOCATOR.unpack_from(tail, locator)
        if disks > 1:
            return Part("the last")
        file.seek(min(record_at, end))
        record = file.read(ZIP64_END.size)
        if len(record) < ZIP64_END.size or not record.startswith(ZIP64_END_MARK):
            return Part("the last") if is_headless else CutOff()
        disk, first_disk, here, entries, size_bytes, offset = ZIP64_END.unpack(record)[4:]
        directory_end = min(record_at, end)
    if disk or first_disk or here != entries:
        return Part("the last")
    # The file is too short for its list of files. It is a damaged zip, or the last part of a zip
    # that was split by 7-Zip, which writes no part numbers into the end record.
    if offset + size_bytes > end:
        return Part("the last") if is_headless else CutOff()
    if not is_headless and offset + size_bytes < directory_end:
        return CutOff()  # this zip's end is missing; the record belongs to a zip inside it
    return Directory(entries, size_bytes)
