"""Normalizes the paths of the files in a zip, and refuses unsafe ones."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from training.dataset.zip.name_encoding import Entry
from training.errors import DatasetError

MAX_PATH_CHARACTERS = 1_000
RESOURCES, CHECKPOINTS = "__macosx", ".ipynb_checkpoints"
JUNK_FOLDERS = {RESOURCES, CHECKPOINTS, ".git", "$recycle.bin", "@eadir"}
MEDIA_FOLDERS = {"images", "videos"}


class NameRefusedError(DatasetError):
    """A file name in the zip points outside it, or cannot be used as a path."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a zip.

    Attributes:
        path: Path in the zip, with forward slashes.
        name: The path without the top folders that contain all files of the zip, such as
            `cat/01.png` for `my-dataset/cat/01.png`.
    """

    path: str
    name: PurePosixPath
    entry: Entry

    @property
    def size_bytes(self) -> int:
        """The unpacked size that the zip declares; unpacking never yields more bytes."""
        return self.entry.info.file_size

    @property
    def has_backslashes(self) -> bool:
        return "\\" in self.entry.name


def plain_path(entry: Entry) -> PurePosixPath:
    """Return an entry's path in Unicode NFC with forward slashes, or refuse it."""
    return checked_path(entry.name, is_folder=entry.is_folder)


def checked_path(given: str, *, is_folder: bool = False) -> PurePosixPath:
    """Return a path from a zip with forward slashes and in Unicode NFC.

    Raises:
        NameRefusedError: The name is absolute, has a drive or "..", or is empty or too long.
    """
    name = given.replace("\\", "/")
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    is_unsafe = (
        "\0" in given
        or name.startswith("/")
        or re.match(r"^[A-Za-z]:", name) is not None
        or ".." in path.parts
    )
    if is_unsafe:
        raise NameRefusedError(
            f"The zip contains a path that points outside it: {printable(name)}.",
            "Zip the dataset folder itself with your system's own tool.",
        )
    if (not path.parts and not is_folder) or len(name) > MAX_PATH_CHARACTERS:
        raise NameRefusedError(
            f"The zip contains an unusable name: {printable(name)}.",
            "Give the files short, plain names and zip the folder again.",
        )
    return path


def printable(name: str) -> str:
    """Return the name with "?" for each control character, cut to at most 120 characters."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= 120 else shown[:117] + "..."


def strip_top_folders(paths: Mapping[PurePosixPath, Entry]) -> tuple[Member, ...]:
    """Return the files of a zip; their names leave out the top folders that hold all of them."""
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
