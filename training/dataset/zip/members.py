"""Sorts the files of a zip into media, captions and unused files, and gives plain names."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from training.dataset.report import Kind, Note
from training.dataset.zip.member_names import Member

# As in musubi-tuner's dataset/media_utils.py, and the types converted to these.
IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif"}
CONVERTED_IMAGES = {".tif", ".tiff", ".gif", ".ppm", ".tga", ".jp2", ".jfif", ".jpe"}
CLIPS = {".mp4", ".webm", ".avi", ".mkv", ".mov", ".flv", ".wmv", ".m4v", ".mpg", ".mpeg"}
# What phones and camcorders write; the trainer skips these.
CONVERTED_CLIPS = {".ts", ".mts", ".m2ts", ".3gp"}
UNSUPPORTED = {
    *(".heic", ".heif", ".jxl", ".psd", ".svg", ".exr", ".hdr", ".dng", ".cr2", ".nef", ".arw"),
    *(".gifv", ".vob", ".ogv", ".rm", ".y4m", ".insv", ".braw"),
}
ARCHIVES = {".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz"}
CAPTIONS = {".txt", ".caption"}
LONGEST_STEM = 60


@dataclass(slots=True)
class Medium:
    """An image or clip in the zip with its caption."""

    member: Member
    kind: Kind
    caption: Member | None = None
    is_caption_read: bool = True
    notes: list[Note] = field(default_factory=list[Note])

    @property
    def extension(self) -> str:
        """The extension in lower case, with its dot."""
        return self.member.name.suffix.lower()


@dataclass(frozen=True, slots=True)
class Layout:
    """The sorted files of a zip; `left` are unused files, each with a note."""

    media: tuple[Medium, ...]
    left: tuple[tuple[str, Note], ...]


def lay_out(members: Sequence[Member], junk: Sequence[str]) -> Layout:
    """Sort the files of a zip into media with captions, and unused files."""
    media = [Medium(member, kind) for member in members if (kind := _kind(member))]
    captions = [member for member in members if member.name.suffix.lower() in CAPTIONS]
    others = [(m, note) for m in members if (note := _leftover(m.name))]
    unsupported = [member for member, note in others if note.code == "unsupported-type"]
    unused = _pair(media, captions, unsupported)
    _note_names(media)
    left = [(path, Note(code="junk-ignored")) for path in junk]
    left += [(path, Note(code="nested-folder")) for path in _enclosing(members)]
    left += [(m.path, Note(code="windows-separators")) for m in members if m.has_backslashes]
    left += [(member.path, note) for member, note in others]
    left += [(member.path, _orphan(member)) for member in unused]
    return Layout(tuple(media), tuple(left))


def _enclosing(members: Sequence[Member]) -> list[str]:
    """Return the folder that contains all files, as a list of at most one."""
    member = members[0]
    folders = PurePosixPath(member.path).parts[: -len(member.name.parts)]
    return ["/".join((*folders, ""))] if folders else []


def _kind(member: Member) -> Kind | None:
    extension = member.name.suffix.lower()
    if extension in IMAGES | CONVERTED_IMAGES:
        return "image"
    return "video" if extension in CLIPS | CONVERTED_CLIPS else None


def _note_names(media: Sequence[Medium]) -> None:
    """Note extensions that the trainer skips, and stems that it would confuse."""
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
    if extension in IMAGES | CONVERTED_IMAGES | CLIPS | CONVERTED_CLIPS | CAPTIONS:
        return None
    if extension in UNSUPPORTED:
        return Note(code="unsupported-type", detail=extension)
    if extension in ARCHIVES:
        return Note(code="nested-archive")
    if extension == ".safetensors":
        return Note(code="leftover-cache")
    if extension == ".toml":
        return Note(code="toml-unused")
    if name == PurePosixPath("manifest.json"):  # a repaired set, zipped again
        return None
    return Note(code="other-file", detail=extension)


def _orphan(member: Member) -> Note:
    is_readme = re.match(r"(?i)(read.?me|licen[sc]e|notes?|info|credits)\b", member.name.stem)
    return Note(code="other-file" if is_readme else "orphan-caption")


def _pair(
    media: Sequence[Medium], captions: Sequence[Member], unsupported: Sequence[Member]
) -> list[Member]:
    """Give each medium its caption; return the captions without a medium."""
    exact = {member.name: member for member in captions}
    folded = {_folded(member.name): member for member in reversed(captions)}
    taken = {exact[name].path for m in unsupported if (name := m.name.with_suffix(".txt")) in exact}
    for medium in media:
        name = medium.member.name
        caption = exact.get(name.with_suffix(".txt"))
        if caption is None:
            loose = (name.with_suffix(".txt"), name.with_name(name.name + ".txt"))
            found = [folded[_folded(n)] for n in loose if _folded(n) in folded]
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
    """Hands out plain names, each stem once per folder."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, medium: Medium, extension: str) -> tuple[str, Note | None]:
        """Return the medium's path in the repaired dataset, and a note if its stem was changed.

        Stems that clash only because folders are merged are numbered without a note.
        """
        folder = "images" if medium.kind == "image" else "videos"
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
    """Return a stem of ASCII letters, digits, dots, dashes and underscores."""
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_only).strip("-.")
    return plain[:LONGEST_STEM] or "sample"
