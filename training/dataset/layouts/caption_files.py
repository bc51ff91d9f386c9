"""Finds captions that are not in a .txt file beside their image or clip.

They may be in tables, in lists, in other folders, in file names, or in files of other types.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath

from training.dataset.layouts.caption_tables import (
    LARGEST_BYTES,
    TABLES,
    TEXTS,
    Row,
    read_caption_table,
    read_sidecar,
    read_text,
)
from training.dataset.layouts.media_paths import MediaPaths
from training.dataset.layouts.reading import Reading
from training.dataset.zip.archive import Archive, MemberDamagedError
from training.dataset.zip.member_names import Member
from training.dataset.zip.members import Medium
from training.wording import listed

_MOST_TABLES, _SHOWN = 16, 4
_FOR_ALL = re.compile(
    r"(?i)(instance_|default_|the_)?(captions?|prompts?|descriptions?|text|all|default)"
    r"|((instance|class)[ _-])?(trigger|token|keyword|concept)([ _-]?(words?|names?))?"
)
# Extensions of caption files that other tools put beside images and clips, and that the trainer
# does not read: JSON, XMP and plain text.
_BESIDE = (
    {".json"},
    {".xmp"},
    {".cap", ".prompt", ".text", ".tags", ".desc", ".description", ".md"},
)
# A number at the end of a file name, such as `_001` or ` (2)`.
_COUNTER = re.compile(r"[-_. ]*\(?\d*\)?$")
_FEWEST_WORDS = 3
# Words with which cameras, phones and programs begin file names.
_PROGRAM_NAME = re.compile(
    r"(?i)(?:img|dsc|dscn|dscf|pxl|mvi|vid|gopr|gx|screen ?shot|screen recording|screen|snapchat|"
    r"whatsapp|photo|image|video|clip|frame|signal|telegram|bildschirm|aufzeichnung|capture|"
    r"captura|snímek|снимок|スクリーン|截图|屏幕|comfyui|download|unbenannt|untitled|new )"
)
# Some tools write the caption of `001.png` to `001_caption.txt`.
_NAMED_CAPTION = re.compile(r"(?i)(.+)[-_. ](?:captions?|prompts?|descriptions?|text|tags)")


def in_tables(archive: Archive, others: Sequence[Member], media: Sequence[Medium]) -> list[Reading]:
    """Read captions from tables such as `captions.csv`, and from files such as `001.json`."""
    places, found = MediaPaths(media), list[Reading]()
    missing = {medium.member.path for medium in media}
    for endings in _BESIDE:
        beside_them = _sidecars(archive, others, media, endings)
        if beside_them is not None:
            missing -= beside_them.captions.keys()
            found.append(beside_them)
    beside = {path for one in found for path in one.sources}
    tables = [m for m in others if m.name.suffix.lower() in TABLES and m.path not in beside]
    for member in sorted(tables, key=_by_kind)[:_MOST_TABLES]:
        one = _in_table(archive, member, places, missing)
        if one is not None:
            missing -= {*one.captions, *one.left_out}
            found.append(one)
    return found


def _by_kind(member: Member) -> tuple[bool, str]:
    """Return a sort key that puts tables such as `a.csv` before texts such as `a.txt`."""
    return member.name.suffix.lower() in TEXTS, member.path


def _in_table(
    archive: Archive, member: Member, places: MediaPaths, missing: Collection[str]
) -> Reading | None:
    """Read the captions that a table has for the files in `missing`; None if it has none.

    A single matching row counts only if it names its file with the extension: in ordinary text, a
    line may happen to begin with a word that is also a file's stem.
    """
    if member.size_bytes > LARGEST_BYTES:
        return None
    folder = PurePosixPath(member.path).parent
    rows = read_caption_table(_read(archive, member), places.has)
    placed = [(places.find(row.file, folder), row) for row in rows]
    named = {path: row.text for path, row in placed if path is not None and path in missing}
    if not named or (len(named) == 1 and not any("." in row.file for path, row in placed if path)):
        return None
    controls = {places.find(file, folder) for row in rows for file in row.controls}
    left_out = {
        path: "control images" for path in controls if path in missing and path not in named
    }
    return Reading(
        name=f"captions in {member.name.name}",
        captions=named,
        sources=(member.path,),
        left_out={path: kind for path, kind in left_out.items() if path is not None},
        remarks=tuple(_remarks(placed)),
    )


def _remarks(placed: Sequence[tuple[str | None, Row]]) -> Iterator[str]:
    """Yield remarks on wrong rows; `placed` pairs each row with its file's path, or with None."""
    damaged = [row.text for _, row in placed if not row.file]
    if damaged:
        yield f"{_count(damaged, 'row')} cannot be read: {listed([d[:60] for d in damaged], 2)}"
    strange = [row.file for path, row in placed if row.file and path is None]
    if strange:
        yield f"{_count(strange, 'row')} without a file in the zip: {listed(strange, _SHOWN)}"
    paths = [path for path, _ in placed if path is not None]
    doubled = [path for path, count in Counter(paths).items() if count > 1]
    if doubled:
        yield f"several rows name the same file, and the last one counts: {listed(doubled, _SHOWN)}"


def _count(items: Sequence[str], noun: str) -> str:
    return f"1 {noun}" if len(items) == 1 else f"{len(items)} {noun}s"


def _sidecars(
    archive: Archive, others: Sequence[Member], media: Sequence[Medium], endings: Collection[str]
) -> Reading | None:
    """Read captions from files with these `endings` beside images and clips, such as `001.json`."""
    by_name = {str(m.name.with_suffix("")): m for m in others if m.name.suffix.lower() in endings}
    captions: dict[str, str] = {}
    sources: list[str] = []
    for medium in media:
        name = medium.member.name
        member = by_name.get(str(name.with_suffix("")), by_name.get(str(name)))
        if member is not None and (text := read_sidecar(member.path, _read(archive, member))):
            captions[medium.member.path] = text
            sources.append(member.path)
    if not captions:
        return None
    found = sorted({PurePosixPath(source).suffix.lower() for source in sources})
    return Reading(
        name=f"captions in {' and '.join(found)} files",
        captions=captions,
        sources=tuple(dict.fromkeys(sources)),
    )


def in_lists(archive: Archive, texts: Sequence[Member], media: Sequence[Medium]) -> Reading | None:
    """Read captions from a list such as `prompts.txt`, for the files listed in `videos.txt`."""
    places = MediaPaths(media)
    lines = {member.path: _lines(archive, member) for member in texts}
    for files in texts:
        paths = [places.find(line) for line in lines[files.path]]
        if not paths or None in paths:
            continue
        for prompts in texts:
            same = len(lines[prompts.path]) == len(paths) and prompts is not files
            if same and prompts.name.parent == files.name.parent:
                pairs = zip(paths, lines[prompts.path], strict=True)
                return Reading(
                    name=f"{prompts.name.name} beside {files.name.name}",
                    captions={path: text for path, text in pairs if path is not None},
                    sources=(prompts.path, files.path),
                )
    return None


def in_folders(
    archive: Archive, texts: Sequence[Member], media: Sequence[Medium]
) -> Reading | None:
    """Read captions such as `captions/001.txt` or `001_caption.txt` for `images/001.png`."""
    places = MediaPaths(media)
    pairs: dict[str, list[Member]] = {}
    for text in texts:
        stem = PurePosixPath(text.path).with_suffix("")
        named = _NAMED_CAPTION.fullmatch(stem.name)
        path = places.named(stem)
        if path is None and named is not None:
            path = places.named(stem.with_name(named[1]))
        elif path is not None and PurePosixPath(path).parent == stem.parent:
            path = None  # a text beside an image or clip of the same name is already its caption
        if path is not None:
            pairs.setdefault(path, []).append(text)
    chosen = {path: found[0] for path, found in pairs.items() if len(found) == 1}
    if not chosen:
        return None
    folders = sorted({f"{text.name.parent}/" for text in chosen.values()})
    where = f"in {' and '.join(folders)}" if folders != ["./"] else "in the top folder"
    if all(_NAMED_CAPTION.fullmatch(text.name.stem) for text in chosen.values()):
        where = f"such as {next(iter(chosen.values())).name.name}"
    return Reading(
        name=f"captions {where}",
        captions={path: _decoded(archive, text) for path, text in chosen.items()},
        sources=tuple(text.path for text in chosen.values()),
    )


def in_names(media: Sequence[Medium]) -> Reading | None:
    """Read captions from file names, if all of them are like `a woman on a bench_001.png`."""
    spoken = {medium.member.path: _spoken_name(medium.member.name.stem) for medium in media}
    if not spoken or not all(spoken.values()):
        return None
    return Reading(name="captions in the file names", captions=spoken)


def _spoken_name(stem: str) -> str:
    """Return the words of a file name; "" if they are too few, or if a program chose the name."""
    words = _COUNTER.sub("", stem).replace("_", " ").split()
    letters = [word for word in words if sum(map(str.isalpha, word)) > len(word) / 2]
    is_spoken = len(letters) >= _FEWEST_WORDS and not _PROGRAM_NAME.match(stem)
    return " ".join(words) if is_spoken else ""


def for_all(archive: Archive, texts: Sequence[Member], media: Sequence[Medium]) -> Reading | None:
    """Read captions that apply to all files of a folder and of the folders in it.

    Such a caption is in `caption.txt` in the folder, or in `ann1ka.txt` beside the folder `ann1ka`.
    If several apply to a file, the caption of the innermost folder wins.
    """
    captions: dict[str, str] = {}
    sources: list[Member] = []
    for text in sorted(texts, key=lambda text: len(text.name.parts)):
        caption = _decoded(archive, text).strip()
        folder = (
            text.name.parent if _FOR_ALL.fullmatch(text.name.stem) else text.name.with_suffix("")
        )
        if not caption or "\n" in caption:
            continue
        below = [m.member.path for m in media if folder in m.member.name.parents]
        captions |= dict.fromkeys(below, caption)
        sources += [text] if below else []
    if not captions:
        return None
    names = sorted({text.name.name for text in sources})
    return Reading(
        name=f"one {' or '.join(names)} for all",
        captions=captions,
        sources=tuple(text.path for text in sources),
    )


def _lines(archive: Archive, member: Member) -> list[str]:
    return [line for line in _decoded(archive, member).splitlines() if line.strip()]


def _decoded(archive: Archive, member: Member) -> str:
    return read_text(_read(archive, member))


def _read(archive: Archive, member: Member) -> bytes:
    try:
        return archive.read(member, LARGEST_BYTES)
    except MemberDamagedError:
        return b""
