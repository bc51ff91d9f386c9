"""Normalizes the names inside a zip, or refuses them."""

import re
import unicodedata
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from training.errors import DatasetError

MAX_PATH_CHARACTERS = 1_000
JUNK_FOLDERS = {"__macosx", ".git", ".ipynb_checkpoints", "$recycle.bin", "@eadir"}
JUNK_FILES = {"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"}
MEDIA_FOLDERS = {"images", "videos"}
UTF8_NAME = 0x800  # general purpose flag: the name is stored as UTF-8


class NameRefusedError(DatasetError):
    """A name that points outside the archive or is not a path."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a zip.

    Attributes:
        path: Path in the zip, with forward slashes.
        name: Path without the folders that enclose the whole dataset.
    """

    path: str
    name: PurePosixPath
    info: zipfile.ZipInfo

    @property
    def size_bytes(self) -> int:
        """The declared size; unpacking never exceeds it."""
        return self.info.file_size

    @property
    def has_backslashes(self) -> bool:
        """Whether the name uses backslashes between folders."""
        return "\\" in self.info.orig_filename


def plain_path(info: zipfile.ZipInfo) -> PurePosixPath:
    """Return the path of an entry with forward slashes, in Unicode NFC.

    Raises:
        NameRefusedError: The name is absolute, has a drive or "..", or is empty or too long.
    """
    name = _decoded(info).replace("\\", "/")
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    is_unsafe = (
        "\0" in info.orig_filename
        or name.startswith("/")
        or re.match(r"^[A-Za-z]:", name) is not None
        or ".." in path.parts
    )
    if is_unsafe:
        raise NameRefusedError(
            f"The zip contains a path that points outside it: {printable(name)}.",
            "Zip the dataset folder itself with your system's own tool.",
        )
    if (not path.parts and not is_folder(info)) or len(name) > MAX_PATH_CHARACTERS:
        raise NameRefusedError(
            f"The zip contains an unusable name: {printable(name)}.",
            "Give the files short, plain names and zip the folder again.",
        )
    return path


def is_folder(info: zipfile.ZipInfo) -> bool:
    """Whether the entry is a folder; some Windows programs end its name with a backslash."""
    return info.is_dir() or (info.orig_filename.endswith("\\") and info.file_size == 0)


def printable(name: str) -> str:
    """Return the name without control characters, at most 120 characters long."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= 120 else shown[:117] + "..."


def is_junk(path: PurePosixPath) -> bool:
    """Whether the entry is a file that operating systems create by themselves."""
    folders = {part.lower() for part in path.parts[:-1]}
    name = path.name.lower()
    return bool(folders & JUNK_FOLDERS) or name in JUNK_FILES or name.startswith(".")


def strip_top_folders(paths: Mapping[PurePosixPath, zipfile.ZipInfo]) -> tuple[Member, ...]:
    """Return the members, named without the folders that all of them share."""
    shared = 0
    while True:
        heads = {path.parts[shared] if len(path.parts) > shared + 1 else None for path in paths}
        if len(heads) != 1 or None in heads or heads <= MEDIA_FOLDERS:
            break
        shared += 1
    return tuple(
        Member(str(path), PurePosixPath(*path.parts[shared:]), paths[path])
        for path in sorted(paths)
    )


def _decoded(info: zipfile.ZipInfo) -> str:
    # macOS and many scripts store UTF-8 without the flag; zipfile then reads it as cp437.
    if info.flag_bits & UTF8_NAME:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.orig_filename
