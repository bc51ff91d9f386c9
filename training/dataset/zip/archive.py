"""Reads an untrusted zip: everything is checked before a byte is unpacked."""

import hashlib
import lzma
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from training.dataset.limits import GIB, MIB, Limits
from training.dataset.zip.member_names import (
    Member,
    NameRefusedError,
    is_folder,
    is_junk,
    plain_path,
    strip_top_folders,
)
from training.errors import DatasetError

CHUNK_BYTES = MIB
RESAVE = "Zip the folder again with your system's own tool and upload that."
KNOWN_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
OTHER_FORMATS = {b"Rar!": "RAR", b"7z\xbc\xaf": "7-Zip", b"\x1f\x8b": "gzip", b"\xfd7zX": "xz"}
# What zipfile and the decompressors raise on damaged data; RuntimeError for odd flags.
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, ValueError, OSError, RuntimeError),
)
ENCRYPTED_BITS = 0x1 | 0x40 | 0x2000
END_RECORD = struct.Struct("<4s4H2LH")
ZIP64_END_RECORD = struct.Struct("<4sQ2H2L4Q")


RefusalCode = Literal[
    "archive-too-large",
    "duplicate-name",
    "empty-zip",
    "encrypted-zip",
    "link-in-zip",
    "not-a-zip",
    "too-many-files",
    "truncated-zip",
    "unknown-compression",
    "unsafe-name",
    "zip-bomb",
]


class ArchiveRefusedError(DatasetError):
    """The zip is unreadable or unsafe; `code` is like that of a finding."""

    def __init__(self, cause: str, fix: str, code: RefusalCode) -> None:
        super().__init__(cause, fix)
        self.code: RefusalCode = code
        self.args = (cause, fix, code)  # for pickling


class MemberDamagedError(DatasetError):
    """A file in the zip cannot be unpacked; the others may be fine."""


@dataclass(frozen=True, slots=True)
class Archive:
    """An open zip whose names and declared sizes passed every check."""

    members: tuple[Member, ...]
    junk: tuple[str, ...]
    zip_file: zipfile.ZipFile
    limits: Limits

    def copy(self, member: Member, target: Path) -> str:
        """Unpack a member to `target` and return its sha256."""
        digest = hashlib.sha256()
        with target.open("wb") as file:
            for chunk in self._chunks(member):
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()

    def read(self, member: Member, limit_bytes: int) -> bytes:
        """Return at most `limit_bytes` of a member."""
        content = bytearray()
        for chunk in self._chunks(member):
            content += chunk
            if len(content) > limit_bytes:
                break
        return bytes(content[:limit_bytes])

    def _chunks(self, member: Member) -> Iterator[bytes]:
        # zipfile never yields more than the declared size: the declared total bounds the real.
        try:
            with self.zip_file.open(member.info) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk
        except UNREADABLE as error:
            raise MemberDamagedError(
                f"{member.path} is damaged inside the zip.",
                "Zip the folder again and upload it again.",
            ) from error


@contextmanager
def open_archive(path: Path, limits: Limits) -> Generator[Archive]:
    """Open a zip after checking its size, its directory and every name.

    Raises:
        ArchiveRefusedError: The file is not a zip, or not safe to unpack.
    """
    with path.open("rb") as file:
        _check_directory(file, limits)
        try:
            zip_file = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise _truncated() from error
        with zip_file:
            infos = zip_file.infolist()
            _check_sizes(infos, path.stat().st_size, limits)
            for info in infos:
                _check_entry(info)
            members, junk = _members(infos)
            yield Archive(members, junk, zip_file, limits)


def _check_directory(file: BinaryIO, limits: Limits) -> None:
    """Refuse files that are not zips, and directories too long to read."""
    size_bytes = file.seek(0, 2)
    if size_bytes > limits.archive_bytes:
        raise ArchiveRefusedError(
            f"The zip has {size_bytes / GIB:.1f} GiB; "
            f"the limit is {limits.archive_bytes / GIB:.1f} GiB.",
            "Split the dataset, or shorten the clips.",
            "archive-too-large",
        )
    file.seek(max(0, size_bytes - END_RECORD.size - 65_536 - 20))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < END_RECORD.size:
        file.seek(0)
        raise _truncated() if file.read(4) == b"PK\x03\x04" else _not_a_zip(file)
    entries, directory_bytes = _directory_size(file, tail, at)
    # An entry takes 46 bytes and its name; 512 leaves room for long names and extra fields.
    if entries > limits.files or directory_bytes > limits.files * 512:
        raise ArchiveRefusedError(
            f"The zip lists {entries:,} files, the limit is {limits.files:,}.",
            "Upload only the images, clips and captions of one dataset.",
            "too-many-files",
        )
    file.seek(0)


def _directory_size(file: BinaryIO, tail: bytes, at: int) -> tuple[int, int]:
    _, _, _, _, entries, directory_bytes, _, _ = END_RECORD.unpack_from(tail, at)
    locator = at - 20
    if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
        (offset,) = struct.unpack_from("<Q", tail, locator + 8)
        file.seek(min(offset, 2**62))
        record = file.read(ZIP64_END_RECORD.size)
        if len(record) == ZIP64_END_RECORD.size:
            entries, directory_bytes = ZIP64_END_RECORD.unpack(record)[7:9]
    return entries, directory_bytes


def _not_a_zip(file: BinaryIO) -> ArchiveRefusedError:
    file.seek(0)
    head = file.read(6)
    found = next((name for magic, name in OTHER_FORMATS.items() if head.startswith(magic)), None)
    cause = f"The file is a {found} archive, not a zip." if found else "The file is not a zip."
    return ArchiveRefusedError(
        cause, "Upload a .zip with your images, clips and captions.", "not-a-zip"
    )


def _truncated() -> ArchiveRefusedError:
    return ArchiveRefusedError(
        "The zip is incomplete: its list of files is missing or damaged.",
        "The upload or the zipping was interrupted. Zip the folder again and upload it again.",
        "truncated-zip",
    )


def _check_sizes(infos: list[zipfile.ZipInfo], archive_bytes: int, limits: Limits) -> None:
    unpacked = sum(info.file_size for info in infos)
    packed = sum(info.compress_size for info in infos)
    ratio = unpacked / max(1, packed)
    if unpacked > limits.unpacked_bytes:
        raise ArchiveRefusedError(
            f"Unpacked, the zip would take {unpacked / GIB:.1f} GiB; "
            f"the limit is {limits.unpacked_bytes / GIB:.1f} GiB.",
            "Split the dataset, or shorten the clips.",
            "zip-bomb",
        )
    if packed > archive_bytes or (unpacked > limits.ratio_floor_bytes and ratio > limits.ratio):
        raise ArchiveRefusedError(
            "The zip unpacks to far more than images and clips would; it looks like a zip bomb.",
            RESAVE,
            "zip-bomb",
        )


def _check_entry(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & ENCRYPTED_BITS:
        raise ArchiveRefusedError(
            f"The zip is password-protected ({info.filename}).",
            "Zip the folder again without a password.",
            "encrypted-zip",
        )
    file_type = (info.external_attr >> 16) & 0o170000
    if file_type not in (0, 0o100000, 0o040000):
        raise ArchiveRefusedError(
            f"{info.filename} is a link or a device, not a file.",
            "Replace links with the files they point to and zip the folder again.",
            "link-in-zip",
        )
    if info.compress_type not in KNOWN_METHODS:
        raise ArchiveRefusedError(
            f"{info.filename} uses an unsupported compression method.",
            "Zip the folder with Deflate, or without compression.",
            "unknown-compression",
        )


def _members(infos: list[zipfile.ZipInfo]) -> tuple[tuple[Member, ...], tuple[str, ...]]:
    paths: dict[PurePosixPath, zipfile.ZipInfo] = {}
    junk: list[str] = []
    counts: Counter[PurePosixPath] = Counter()
    for info in infos:
        try:
            path = plain_path(info)
        except NameRefusedError as error:
            raise ArchiveRefusedError(error.cause, error.fix, "unsafe-name") from error
        if is_folder(info):
            continue
        if is_junk(path):
            junk.append(str(path))
            continue
        counts[path] += 1
        paths[path] = info
    doubled = sorted(str(path) for path, count in counts.items() if count > 1)
    if doubled:
        raise ArchiveRefusedError(
            f"The zip contains {doubled[0]} more than once.", RESAVE, "duplicate-name"
        )
    if not paths:
        raise ArchiveRefusedError(
            "The zip is empty.", "Add your images, clips and captions.", "empty-zip"
        )
    return strip_top_folders(paths), tuple(sorted(junk))
