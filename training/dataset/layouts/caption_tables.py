"""Reads the tables that other tools write: finds the file name and the caption in each row."""

import html
import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple, cast

from training.dataset.captions.encodings import decode
from training.dataset.layouts.records import LONGEST, IsFile, Record, cells_of, read_records
from training.files.sizes import MIB

TEXTS = {".txt", ".md", ".log"}
TABLES = TEXTS | {
    *(".jsonl", ".json", ".ndjson", ".jsonlines", ".csv", ".tsv", ".tab", ".psv", ".token"),
    *(".yaml", ".yml"),
}
LARGEST_BYTES = 8 * MIB
# Usual titles of the columns with file names and with captions, as in Hugging Face's imagefolder,
# DiffSynth-Studio, SimpleTuner, musubi-tuner, finetrainers, VideoX-Fun, Open-Sora and
# kohya-ss/sd-scripts. Under any other title, a cell is a file name if the zip has such a file.
_FILES = (
    *("file_name", "filename", "file", "path", "file_path", "filepath", "media_path", "media"),
    *("image", "image_path", "image_file", "img", "video", "video_path", "video_file", "clip"),
    *("image_name", "video_name", "img_path", "target_path", "target", "images", "videos"),
    *("url", "image_url", "video_url", "name", "key", "id"),
)
_TEXTS = (
    *("caption", "text", "prompt", "description", "captions", "prompts", "cap", "long_caption"),
    *("en_caption", "detailed_caption"),
)
_SUFFIX = ("suffix", "short_caption", "comment", "title")  # PaliGemma calls the answer `suffix`
_TAGS = ("tags", "tag_string", "keywords", "tag_string_general")
_ANY_TEXT = re.compile(r"(?!.*(?:negative|_id$|path)).*(?:caption|prompt|description).*")
_LONG = re.compile(r"long|detail|dense|full")
_CONTROLS = re.compile(
    r".*(?:control|mask|reference|condition|vace|input|source|first_frame|end_|start_).*"
)
_FILE_NAME = re.compile(r"[^\n]{1,200}\.\w{2,5}")
_LONGEST_NAME = 1_000  # characters of a path or URL
_ANSWERS = {"gpt", "assistant", "model", "chatgpt", "bot"}
_XMP_TEXT = re.compile(r"(?s)<dc:description>.*?<rdf:li[^>]*>(.*?)</rdf:li>")
_XMP_WORDS = re.compile(r"(?s)<dc:subject>(.*?)</dc:subject>")
_XMP_WORD = re.compile(r"(?s)<rdf:li[^>]*>(.*?)</rdf:li>")


class Row(NamedTuple):
    """One row of a caption table.

    Attributes:
        file: The path or name of the image or clip; "" if the row cannot be read.
        text: The caption; if the row cannot be read, the whole row.
        controls: Other files in the row, such as a mask. They are not samples.
    """

    file: str
    text: str
    controls: tuple[str, ...] = ()


def read_caption_table(content: bytes, is_file: IsFile) -> list[Row]:
    """Return the rows that have a file and a caption, and those that cannot be read.

    The result is [] if the content is not a table.
    """
    records = read_records(read_text(content), is_file)
    return [row for record in records if (row := _row(record, is_file)) is not None]


def read_text(content: bytes) -> str:
    """Return the text of a file; "" if it makes no sense in any known encoding."""
    decoded = decode(content)
    return decoded.text if decoded.is_legible else ""


def read_sidecar(path: str, content: bytes) -> str:
    """Return the caption in a file beside an image or clip, such as `001.json`; "" if none."""
    text = read_text(content)
    extension = PurePosixPath(path).suffix.lower()
    if extension == ".xmp":
        return _of_xmp(text)
    if extension != ".json":
        return text.strip()
    try:
        entry: object = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return _text(cells_of(entry))


def _of_xmp(text: str) -> str:
    """Return the description in an XMP file, as Lightroom writes it, or else the keywords."""
    if found := _XMP_TEXT.search(text):
        return html.unescape(found[1]).strip()
    words = _XMP_WORD.findall(found[1]) if (found := _XMP_WORDS.search(text)) else []
    return html.unescape(", ".join(word.strip() for word in words))


def _row(record: Record, is_file: IsFile) -> Row | None:
    if record.unread:
        return Row("", record.unread)
    cells, text = record.cells, _text(record.cells)
    controls = tuple(
        found for key in cells if _CONTROLS.fullmatch(key) and (found := _first(cells, (key,)))
    )
    file = _file(record, {*controls}, is_file)
    return Row(file, text, controls) if file and text else None


def _file(record: Record, controls: set[str], is_file: IsFile) -> str:
    """Return the file that a record names: one in the zip, else any likely file name, else ""."""
    cells = record.cells
    usual = [_first(cells, (key,)) for key in _FILES]
    others = [_only_text(value) for key, value in cells.items() if not _is_text(key)]
    named = [one for one in (*usual, record.name, *others) if _is_name(one) and one not in controls]
    found = next((one for one in named if is_file(one)), None)
    return found or next((one for one in named if _FILE_NAME.fullmatch(one)), "")


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_NAME and "\n" not in text


def _is_text(key: str) -> bool:
    return key in (*_TEXTS, *_TAGS, *_SUFFIX, LONGEST) or _ANY_TEXT.fullmatch(key) is not None


def _text(cells: Mapping[str, object]) -> str:
    """Return a row's caption: a caption cell, else all tags joined by commas, else another text."""
    if found := _first(cells, _TEXTS) or _answer(cells):
        return found
    for key in _TAGS:
        if is_of_texts(value := cells.get(key)):
            return ", ".join(cast("list[str]", value))
    others = sorted(
        (key for key in cells if _ANY_TEXT.fullmatch(key)),
        key=lambda key: _LONG.search(key) is None,
    )
    return _first(cells, (*_TAGS, *others, *_SUFFIX, LONGEST))


def _answer(cells: Mapping[str, object]) -> str:
    """Return the model's last answer in a conversation, as in LLaVA's format; else ""."""
    for key in ("conversations", "messages", "conversation"):
        said = cells.get(key)
        for turn in reversed(cast("list[object]", said)) if isinstance(said, list) else ():
            spoken = cells_of(turn)
            if spoken.get("from", spoken.get("role")) in _ANSWERS:
                content = spoken.get("value", spoken.get("content"))
                parts = cast("list[object]", content) if isinstance(content, list) else [content]
                return " ".join(filter(None, (_spoken(part) for part in parts)))
    return ""


def _spoken(part: object) -> str:
    return part.strip() if isinstance(part, str) else _first(cells_of(part), ("text",))


def is_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, str) for one in cast("list[object]", value)
    )


def _first(cells: Mapping[str, object], keys: tuple[str, ...]) -> str:
    """Return the first text in the cells of `keys`, in the order of `keys`; "" if there is none."""
    found = (_only_text(cells.get(key)) for key in keys)
    return next(filter(None, found), "")


def _only_text(value: object) -> str:
    """Return a string, the first string of a list, or a whole number as text; else ""."""
    if isinstance(value, list):
        value = next((v for v in cast("list[object]", value) if isinstance(v, str)), None)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""
