"""Reads an untrusted zip; checks its file names and declared sizes before unpacking anything."""

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

from training.dataset.limits import Limits
from training.dataset.zip.directory import (
    CutOff,
    Directory,
    Nothing,
    NotWhole,
    OtherFile,
    OtherFormat,
    Part,
    read_directory,
)
from training.dataset.zip.junk import find_junk
from training.dataset.zip.member_names import (
    Member,
    NameRefusedError,
    plain_path,
    printable,
    strip_top_folders,
)
from training.dataset.zip.name_encoding import NAME_FIX, Entry, UnreadableNamesError, decode_names
from training.errors import DatasetError
from training.files.sizes import MIB, size

CHUNK_BYTES = MIB
RESAVE = "Zip the folder again with your system's own tool and upload the new zip."
WHOLE_ZIPS = (
    "Zip the files without splitting, and upload a large zip through the upload page. Or make "
    "several complete zips and upload them one after the other, all but the first with mode add."
)
_ZIP_THEM = "Zip your images, clips and captions, and upload that zip."
KNOWN_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_AES, _DEFLATE64 = 99, 9  # in encrypted zips, WinZip writes _AES as the compression method
_METHODS = {
    _DEFLATE64: "Deflate64 (used by Windows for files of more than 2 GiB)",
    93: "Zstandard",
    95: "xz",
    96: "WinZip's JPEG compression",
    97: "WavPack",
    98: "PPMd",
}
# The errors that zipfile and the decompressors raise on damaged data. zipfile raises RuntimeError
# for flags that it does not expect.
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, ValueError, OSError, RuntimeError),
)
ENCRYPTED_BITS = 0x1 | 0x40 | 0x2000


RefusalCode = Literal[
    "archive-too-large",
    "duplicate-name",
    "empty-zip",
    "encrypted-zip",
    "link-in-zip",
    "not-a-zip",
    "split-zip",
    "too-many-files",
    "truncated-zip",
    "unknown-compression",
    "unreadable-names",
    "unsafe-name",
    "zip-bomb",
]


class ArchiveRefusedError(DatasetError):
    """The zip is unreadable or unsafe; `code` names the reason, such as "zip-bomb"."""

    def __init__(self, cause: str, fix: str, code: RefusalCode) -> None:
        super().__init__(cause, fix)
        self.code: RefusalCode = code
        self.args = (cause, fix, code)  # for pickling


class MemberDamagedError(DatasetError):
    """One file of the zip cannot be unpacked; the other files may be fine."""


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
            for chunk in self.chunks(member):
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()

    def read(self, member: Member, limit_bytes: int) -> bytes:
        content = bytearray()
        for chunk in self.chunks(member):
            content += chunk
            if len(content) > limit_bytes:
                break
        return bytes(content[:limit_bytes])

    def chunks(self, member: Member) -> Iterator[bytes]:
        """Unpack a member chunk by chunk.

        Raises:
            MemberDamagedError: The member's data is damaged.
        """
        # zipfile never yields more bytes than the member declares, and the sum of the declared
        # sizes was checked when the zip was opened. So no limit is needed here.
        try:
            with self.zip_file.open(member.entry.info) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk
        except UNREADABLE as error:
            raise MemberDamagedError(
                f"{member.path} is damaged inside the zip.",
                "Zip the folder again and upload it again.",
            ) from error


@contextmanager
def open_archive(path: Path, limits: Limits) -> Generator[Archive]:
    """Open a zip after checking its size, its list of files and every file name.

    Raises:
        ArchiveRefusedError: The file is not a zip, or not safe to unpack.
    """
    with path.open("rb") as file:
        _check_directory(file, path.name, limits)
        try:
            zip_file = zipfile.ZipFile(file)
        except UnicodeDecodeError as error:
            raise ArchiveRefusedError(
                "The zip marks its file names as UTF-8, but they are not.",
                NAME_FIX,
                "unreadable-names",
            ) from error
        except UNREADABLE as error:
            raise _truncated() from error
        with zip_file:
            infos = zip_file.infolist()
            _check_sizes(infos, zip_file.start_dir, limits)
            entries = _named(infos)
            for entry in entries:
                _check_entry(entry)
            members, junk = _members(entries)
            yield Archive(members, junk, zip_file, limits)


def _check_directory(file: BinaryIO, name: str, limits: Limits) -> None:
    """Refuse files that are too large, that are not zips, or that list too many files."""
    size_bytes = file.seek(0, 2)
    if size_bytes > limits.archive_bytes:
        raise ArchiveRefusedError(
            f"The zip has a size of {size(size_bytes)}; the limit is {size(limits.archive_bytes)}.",
            "Split the dataset, or shorten the clips.",
            "archive-too-large",
        )
    found = read_directory(file, name)
    if not isinstance(found, Directory):
        raise _not_whole(found)
    # In the list, a file takes 46 bytes plus its name; 512 bytes leave room for long names and
    # extra fields.
    if found.entries > limits.files or found.size_bytes > limits.files * 512:
        raise ArchiveRefusedError(
            f"The zip lists {found.entries:,} files; the limit is {limits.files:,}.",
            "Upload only the images, clips and captions of one dataset.",
            "too-many-files",
        )
    file.seek(0)


def _not_whole(found: NotWhole) -> ArchiveRefusedError:
    match found:
        case Part():
            return ArchiveRefusedError(
                f"This is {found.which} part of a split zip, which cannot be opened alone.",
                WHOLE_ZIPS,
                "split-zip",
            )
        case OtherFormat(name=None):
            return ArchiveRefusedError(
                "The file is not a zip.",
                "Upload a .zip with your images, clips and captions.",
                "not-a-zip",
            )
        case OtherFormat():
            part = "one part of " if found.is_part else ""
            fix = "Unpack the archive (all parts, if it is split) and make a zip of its files."
            return ArchiveRefusedError(
                f"The file is not a zip, but {part}an archive in the {found.name} format.",
                f"{fix} {WHOLE_ZIPS}",
                "not-a-zip",
            )
        case OtherFile():
            return ArchiveRefusedError(
                f"The file is not a zip, but {found.kind.name}.", _instead_of(found), "not-a-zip"
            )
        case Nothing():
            return ArchiveRefusedError(
                "The file is empty.",
                "The download or copy was probably interrupted. Download the zip again, or zip the "
                "folder again.",
                "not-a-zip",
            )
        case CutOff():
            return _truncated()


def _instead_of(found: OtherFile) -> str:
    match found.kind.use:
        case "page":
            return (
                "A web page was saved instead of the file, often because the site asks you to log "
                "in or to confirm. Open the link in your browser, download the zip and upload that."
            )
        case "data":
            return (
                f"{_ZIP_THEM} If you downloaded this file, it may be an error message instead of "
                "the zip; open the link in your browser to see."
            )
        case "image" | "other":
            return _ZIP_THEM


def _other_method(method: int) -> str:
    if method == _DEFLATE64:
        return (
            "Zip the folder with 7-Zip, using the method Deflate, or make several smaller zips and "
            "upload them one after the other, all but the first with mode add."
        )
    return "Zip the folder with Deflate, or without compression (7-Zip: method Deflate or Copy)."


def _truncated() -> ArchiveRefusedError:
    return ArchiveRefusedError(
        "The zip is incomplete: its list of files is missing or damaged.",
        "The upload or the zipping was interrupted, or this is the first part of a split zip. Zip "
        "the folder again without splitting, and upload it again.",
        "truncated-zip",
    )


def _check_sizes(infos: list[zipfile.ZipInfo], files_end: int, limits: Limits) -> None:
    """Refuse zip bombs, and zips that declare more packed data than they hold.

    The packed data ends at byte `files_end`, where the list of files begins.
    """
    unpacked = sum(info.file_size for info in infos)
    packed = sum(info.compress_size for info in infos)
    # A zip bomb may list the same data many times, so `packed` may exceed the size of the zip.
    ratio = unpacked / max(1, min(packed, files_end))
    if unpacked > limits.unpacked_bytes:
        raise ArchiveRefusedError(
            f"Unpacked, the zip would take {size(unpacked)}; "
            f"the limit is {size(limits.unpacked_bytes)}.",
            "Split the dataset, or shorten the clips.",
            "zip-bomb",
        )
    if unpacked > limits.ratio_floor_bytes and ratio > limits.ratio:
        raise ArchiveRefusedError(
            "The zip unpacks to far more than images and clips would; it looks like a zip bomb.",
            RESAVE,
            "zip-bomb",
        )
    if packed > files_end:
        raise _truncated()


def _named(infos: list[zipfile.ZipInfo]) -> list[Entry]:
    try:
        return decode_names(infos)
    except UnreadableNamesError as error:
        raise ArchiveRefusedError(error.cause, error.fix, "unreadable-names") from error


def _check_entry(entry: Entry) -> None:
    info, name = entry.info, printable(entry.name)
    if info.flag_bits & ENCRYPTED_BITS or info.compress_type == _AES:
        raise ArchiveRefusedError(
            f"The zip is password-protected ({name}).",
            "Zip the folder again without a password.",
            "encrypted-zip",
        )
    file_type = (info.external_attr >> 16) & 0o170000
    if file_type not in (0, 0o100000, 0o040000):
        raise ArchiveRefusedError(
            f"{name} is a link or a device, not a file.",
            "Replace links with the files they point to and zip the folder again.",
            "link-in-zip",
        )
    if info.compress_type not in KNOWN_METHODS:
        method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
        raise ArchiveRefusedError(
            f"{name} is compressed with {method}, which is not supported.",
            _other_method(info.compress_type),
            "unknown-compression",
        )


def _members(entries: list[Entry]) -> tuple[tuple[Member, ...], tuple[str, ...]]:
    paths: dict[PurePosixPath, Entry] = {}
    counts: Counter[PurePosixPath] = Counter()
    for entry in entries:
        try:
            path = plain_path(entry)
        except NameRefusedError as error:
            raise ArchiveRefusedError(error.cause, error.fix, "unsafe-name") from error
        if not entry.is_folder:
            counts[path] += 1
            paths[path] = entry
    junk = find_junk(paths)
    paths = {path: entry for path, entry in paths.items() if path not in junk}
    doubled = sorted(str(path) for path in paths if counts[path] > 1)
    if doubled and "?" in doubled[0]:
        raise ArchiveRefusedError(
            f"The zip contains {doubled[0]} more than once: the program that made the zip wrote "
            "question marks in place of letters.",
            NAME_FIX,
            "unreadable-names",
        )
    if doubled:
        raise ArchiveRefusedError(
            f"The zip contains {doubled[0]} more than once.", RESAVE, "duplicate-name"
        )
    if not paths:
        raise ArchiveRefusedError(
            "The zip is empty.", "Add your images, clips and captions.", "empty-zip"
        )
    return strip_top_folders(paths), tuple(sorted(map(str, junk)))
