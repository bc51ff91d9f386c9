"""Decodes the caption files of a dataset, whatever their encoding, and cleans their text."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from training.dataset.captions.encodings import Decoded, decode_all
from training.dataset.captions.judgement import excerpt, judge
from training.dataset.report import Note

# Wan reads at most 512 T5 tokens of a caption. In English, a token has about 4 characters; in other
# scripts, fewer.
LONGEST_TOKENS = 512
CHARACTERS_PER_TOKEN = 4.0
# Chinese characters and Japanese kana: no spaces separate such words from their neighbours.
UNSPACED = "\u3005\u3041-\u3096\u30a1-\u30fa\u30fc\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
# Soft hyphens, word joiners and byte-order marks are invisible, but the text encoder would split
# words at them.
_IGNORED = re.compile("[\u00ad\u180e\u2060\ufeff]")
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols that look like blanks
_UNSEEN = rf"\s\u200b-\u200f\u202a-\u202e\u2066-\u2069{_FILLERS}"
_AROUND = re.compile(rf"\A[{_UNSEEN}]+|[{_UNSEEN}]+\Z")
# All control characters except white space.
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")


@dataclass(frozen=True, slots=True)
class Caption:
    """The text of a caption file, and notes on its faults."""

    text: str
    notes: tuple[Note, ...] = ()


def read_captions(
    contents: Mapping[str, bytes], limit_bytes: int, trigger: str | None
) -> dict[str, Caption]:
    """Decode all caption files of a dataset together; the result has the same keys.

    Files larger than `limit_bytes` are not decoded: they become empty captions with a note.
    """
    short = {key: content for key, content in contents.items() if len(content) <= limit_bytes}
    too_long = Caption("", (Note(code="unreadable-caption", detail="far too long"),))
    return {
        **dict.fromkeys(contents, too_long),
        **{key: _caption(text, trigger) for key, text in decode_all(short).items()},
    }


def _caption(decoded: Decoded, trigger: str | None) -> Caption:
    text = tidy(decoded.text)
    if not decoded.is_legible and not _is_binary(decoded.text):
        return Caption("", (Note(code="caption-garbled", detail=excerpt(text)),))
    if holds_controls(text):
        return Caption("", (Note(code="unreadable-caption", detail="not text"),))
    notes = list(text_notes(text, trigger))
    if decoded.encoding is not None and text:
        shown = decoded.encoding if text.isascii() else f"{decoded.encoding}: {excerpt(text)}"
        notes.append(Note(code="caption-encoding", detail=shown))
    return Caption(text, tuple(notes))


def text_notes(text: str, trigger: str | None) -> Iterator[Note]:
    """Yield notes on a caption that is empty, too long, or not a caption at all."""
    if not text:
        yield Note(code="empty-caption")
        return
    if (note := judge(text, trigger)) is not None:
        yield note
    tokens = estimated_tokens(text)
    if tokens > LONGEST_TOKENS:
        yield Note(code="caption-too-long", detail=f"about {tokens} tokens")


def _is_binary(text: str) -> bool:
    return any(letter < " " and not letter.isspace() for letter in text)


def holds_controls(text: str) -> bool:
    return _CONTROLS.search(text) is not None


def tidy(text: str) -> str:
    """Return a caption in Unicode NFC and with Unix line endings.

    Invisible characters, and white space at the start and end, are removed.
    """
    lines = _LINE_END.sub("\n", _IGNORED.sub("", text))
    if not any(_is_visible(letter) for letter in lines):
        return lines if holds_controls(lines) else ""
    return _AROUND.sub("", unicodedata.normalize("NFC", lines))


def _is_visible(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "LNPS" and letter not in _FILLERS


def holds_trigger(caption: str, trigger: str) -> bool:
    """Whether the caption contains the trigger as a whole word, ignoring case.

    Chinese and Japanese have no spaces, so their characters may directly adjoin the trigger.
    """
    return _as_word(trigger).search(caption) is not None


def trigger_places(caption: str, trigger: str) -> list[tuple[int, int]]:
    """Return where the trigger word begins and ends, each time that it occurs in the caption."""
    return [match.span() for match in _as_word(trigger).finditer(caption)]


def replace_trigger(caption: str, old: str, new: str) -> str:
    """Return the caption with the trigger word `new` in place of `old`.

    Both are matched as whole words, ignoring case. If the caption already contains `new`, `old` is
    just removed; but if `old` is a part of `new`, the caption stays as it is.
    """
    if not holds_trigger(caption, new):
        return _as_word(old).sub(lambda _: new, caption)
    if holds_trigger(new, old):
        return caption
    return re.sub(rf"{_as_word(old).pattern}[ ,]*", "", caption, flags=re.IGNORECASE).rstrip(" ,")


def _as_word(trigger: str) -> re.Pattern[str]:
    word = re.escape(tidy(trigger))
    return re.compile(rf"(?<![^\W{UNSPACED}]){word}(?![^\W{UNSPACED}])", re.IGNORECASE)


def estimated_tokens(text: str) -> int:
    """Estimate a text's number of T5 tokens: one per 4 ASCII characters, and one per 1.5 others."""
    plain = len(text.encode("ascii", "ignore"))
    return round(plain / CHARACTERS_PER_TOKEN + (len(text) - plain) / 1.5)
