"""Reads caption files of any encoding into clean text."""

import codecs
import re
import unicodedata
from dataclasses import dataclass

from training.dataset.report import Note

BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Wan reads 512 T5 tokens. English text has about 4 characters a token; other scripts fewer.
LONGEST_TOKENS = 512
CHARACTERS_PER_TOKEN = 4.0
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")  # all but white space


@dataclass(frozen=True, slots=True)
class Caption:
    """The text of a caption file, with notes about it."""

    text: str
    notes: tuple[Note, ...] = ()


def read_caption(content: bytes, limit_bytes: int) -> Caption:
    """Decode a caption file and strip its white space.

    Args:
        content: The file's bytes; one more than the limit suffices for longer files.
        limit_bytes: The longest caption that is read.
    """
    if len(content) > limit_bytes:
        return Caption("", (Note(code="unreadable-caption", detail="far too long"),))
    text, encoding = _decode(content)
    if holds_controls(text):
        return Caption("", (Note(code="unreadable-caption", detail="not text"),))
    text = tidy(text)
    if not text:
        return Caption("", (Note(code="empty-caption"),))
    notes: list[Note] = []
    if encoding is not None:
        notes.append(Note(code="caption-encoding", detail=encoding))
    tokens = estimated_tokens(text)
    if tokens > LONGEST_TOKENS:
        notes.append(Note(code="caption-too-long", detail=f"about {tokens} tokens"))
    return Caption(text, tuple(notes))


def holds_controls(text: str) -> bool:
    """Return whether a text contains control characters, such as NUL."""
    return _CONTROLS.search(text) is not None


def tidy(text: str) -> str:
    """Return a caption in Unicode NFC without surrounding white space."""
    return unicodedata.normalize("NFC", text.strip())


def holds_trigger(caption: str, trigger: str) -> bool:
    """Whether the caption contains the trigger as a separate word, ignoring case."""
    word = re.escape(tidy(trigger))
    return re.search(rf"(?<!\w){word}(?!\w)", caption, re.IGNORECASE) is not None


def estimated_tokens(text: str) -> int:
    """Estimate the T5 tokens of a text; non-Latin letters take more."""
    plain = len(text.encode("ascii", "ignore"))
    return round(plain / CHARACTERS_PER_TOKEN + (len(text) - plain) / 1.5)


def _decode(content: bytes) -> tuple[str, str | None]:
    """Return the text, and the encoding's name unless it is UTF-8."""
    for bom, encoding in BOMS:
        if content.startswith(bom):
            return content.decode(encoding, errors="replace"), encoding.upper()
    try:
        return content.decode("utf-8-sig"), None
    except UnicodeDecodeError:
        pass
    if content[1::2].count(0) > len(content) / 4:
        return content.decode("utf-16-le", errors="replace"), "UTF-16"
    try:
        return content.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "Latin-1"
