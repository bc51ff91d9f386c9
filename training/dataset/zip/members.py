"""Pairs the images and clips of a zip with their captions, and gives them ASCII names."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from training.dataset.manifest import MANIFEST
from training.dataset.media_types import CLIPS, CONVERTED_CLIPS, CONVERTED_IMAGES, IMAGES, MEDIA
from training.dataset.report import Kind, Note
from training.dataset.zip.directory import is_part_name
from training.dataset.zip.member_names import Member
from training.files.windows_names import portable

UNSUPPORTED = {
    *(".heic", ".heif", ".jxl", ".psd", ".svg", ".exr", ".hdr", ".dng", ".cr2", ".nef", ".arw"),
    *(".gifv", ".vob", ".ogv", ".rm", ".y4m", ".insv", ".braw"),
}
ARCHIVES = {".zip", ".zipx", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"}
CAPTIONS = {".txt", ".caption"}
UNREAD_TABLES = {".parquet", ".arrow", ".xlsx", ".xls", ".ods", ".numbers", ".db", ".sqlite"}
LONGEST_STEM = 60
_OWN_REPEATS = re.compile(r"(?:images|videos)-([1-9]\d{0,2})-repeats")


@dataclass(slots=True)
class Medium:
    """An image or clip in the zip with its caption.

    Attributes:
        caption: The caption file; None if there is none.
        text: The caption itself, if it was found elsewhere, such as in a table or a folder name.
        repeats: How many times an epoch trains on this image or clip.
        is_caption_read: False if this caption was not read, because all captions of the dataset
            together are too large.
    """

    member: Member
    kind: Kind
    caption: Member | None = None
    text: str | None = None
    repeats: int = 1
    is_caption_read: bool = True
    notes: list[Note] = field(default_factory=list[Note])

    @property
    def extension(self) -> str:
        """The extension in lower case, such as ".png"."""
        return self.member.name.suffix.lower()


@dataclass(frozen=True, slots=True)
class Layout:
    """The images and clips of a zip. `left` has the paths of its other files, each with a note."""

    media: tuple[Medium, ...]
    left: tuple[tuple[str, Note], ...]


def lay_out(members: Sequence[Member], junk: Sequence[str]) -> Layout:
    """Pair the images and clips with their captions, and make notes on all unused files."""
    media = [
        Medium(member, kind, repeats=_own_repeats(member.path))
        for member in members
        if (kind := _kind(member))
    ]
    captions = [member for member in members if member.name.suffix.lower() in CAPTIONS]
    others = [(m, note) for m in members if (note := _leftover(m.name))]
    unsupported = [member for member, note in others if note.code == "unsupported-type"]
    unused = _pair(media, captions, unsupported)
    _note_names(media)
    left = [(path, Note(code="junk-ignored")) for path in junk]
    left += [(path, Note(code="nested-folder")) for path in _enclosing(members)]
    left += [(m.path, Note(code="windows-separators")) for m in members if m.has_backslashes]
    left += [
        (m.path, Note(code="name-encoding", detail=m.entry.encoding))
        for m in members
        if m.entry.encoding
    ]
    left += [(member.path, note) for member, note in others]
    taken = {_folded(name) for medium in media for name in _caption_names(medium)}
    left += [(member.path, _unused(member, taken)) for member in unused]
    return Layout(tuple(media), tuple(left))


def _enclosing(members: Sequence[Member]) -> list[str]:
    """Return a list with the top folder that holds all files; [] if there is no such folder."""
    member = members[0]
    folders = PurePosixPath(member.path).parts[: -len(member.name.parts)]
    return ["/".join((*folders, ""))] if folders else []


def _kind(member: Member) -> Kind | None:
    extension = member.name.suffix.lower()
    if extension in IMAGES | CONVERTED_IMAGES:
        return "image"
    return "video" if extension in CLIPS | CONVERTED_CLIPS else None


def _own_repeats(path: str) -> int:
    """Return N if a folder is named `images-N-repeats`, as in repaired datasets; else 1."""
    found = [match for folder in path.split("/")[:-1] if (match := _OWN_REPEATS.match(folder))]
    return int(found[-1][1]) if found else 1


def _note_names(media: Sequence[Medium]) -> None:
    """Add notes on names that the trainer mishandles: extensions such as `.Png` and equal stems."""
    seen: set[tuple[Kind, str]] = set()
    for medium in media:
        suffix = medium.member.name.suffix
        if suffix not in (suffix.lower(), suffix.upper()):
            medium.notes.append(Note(code="extension-case", detail=suffix))
        stem = (medium.kind, str(medium.member.name.with_suffix("")).casefold())
        if stem in seen:
            medium.notes.append(Note(code="same-stem"))
        seen.add(stem)


def _leftover(name: PurePosixPath) -> Note | None:
    extension = name.suffix.lower()
    if extension in MEDIA | CAPTIONS:
        return None
    if extension in UNSUPPORTED:
        return Note(code="unsupported-type", detail=extension)
    if extension in ARCHIVES or is_part_name(name.name):
        return Note(code="nested-archive")
    if extension in UNREAD_TABLES:
        return Note(code="unread-table")
    if extension == ".safetensors":
        return Note(code="leftover-cache")
    if extension == ".toml":
        return Note(code="toml-unused")
    if name == PurePosixPath(MANIFEST):  # written by `repair`, so it needs no note
        return None
    return Note(code="other-file", detail=extension)


def _unused(member: Member, taken: Collection[str]) -> Note:
    """Return a note on a caption file that no image or clip uses."""
    if _folded(member.name) in taken:
        return Note(code="second-caption")
    is_readme = re.match(r"(?i)(read.?me|licen[sc]e|notes?|info|credits)\b", member.name.stem)
    return Note(code="other-file" if is_readme else "orphan-caption")


def _caption_names(medium: Medium) -> tuple[PurePosixPath, PurePosixPath]:
    """Return the names that a caption file may have: `a.txt` and `a.png.txt`."""
    name = medium.member.name
    return name.with_suffix(".txt"), name.with_name(name.name + ".txt")


def _pair(
    media: Sequence[Medium], captions: Sequence[Member], unsupported: Sequence[Member]
) -> list[Member]:
    """Give each image or clip its caption file; return the unused caption files."""
    exact = {member.name: member for member in captions}
    folded = {_folded(member.name): member for member in reversed(captions)}
    taken = {exact[name].path for m in unsupported if (name := m.name.with_suffix(".txt")) in exact}
    for medium in media:
        name = medium.member.name
        caption = exact.get(name.with_suffix(".txt"))
        if caption is None:
            loose = map(_folded, _caption_names(medium))
            found = [folded[one] for one in loose if one in folded]
            caption = found[0] if found else None
            if caption is not None:
                medium.notes.append(Note(code="caption-name", detail=caption.name.name))
        medium.caption = caption
        if caption is not None:
            taken.add(caption.path)
    return [member for member in captions if member.path not in taken]


def _folded(name: PurePosixPath) -> str:
    plain = name.with_suffix(".txt") if name.suffix.lower() in CAPTIONS else name
    return str(plain).casefold()


class Names:
    """Assigns ASCII file names in a repaired dataset, using each stem only once per folder."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, medium: Medium, extension: str) -> tuple[str, Note | None]:
        """Return a file's path in the repaired dataset, and a note if its stem was made ASCII.

        A stem that is already taken gets a number, such as `01-2`, without a note. Stems clash when
        files from several folders are put into one.
        """
        folder = "images" if medium.kind == "image" else "videos"
        if medium.repeats > 1:  # the trainer has one repeat count for each folder
            folder += f"-{medium.repeats}-repeats"
        wanted = medium.member.name.stem
        plain = plain_stem(wanted)
        stem, number = plain, 1
        while f"{folder}/{stem}".casefold() in self._taken:
            number += 1
            stem = f"{plain}-{number}"
        self._taken.add(f"{folder}/{stem}".casefold())
        note = Note(code="renamed", detail=f"now {stem}{extension}") if plain != wanted else None
        return f"{folder}/{stem}{extension}", note


def plain_stem(stem: str) -> str:
    """Return a stem reduced to ASCII letters, digits, dots, dashes and underscores."""
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_only).strip("-.")
    return portable(plain[:LONGEST_STEM]) if plain else "sample"
