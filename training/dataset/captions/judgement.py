"""Finds texts that are not captions: other file formats, refusals and error messages."""

import unicodedata

from training.dataset.captions.failures import is_failure, is_numbered_placeholder
from training.dataset.captions.formats import format_of, without_tokens
from training.dataset.captions.refusals import has_chat, is_refusal
from training.dataset.report import Note

_EXCERPT = 40  # characters
_LONGEST_PREFIX = 2  # words


def judge(text: str, trigger: str | None) -> Note | None:
    """Return a note if a text is not a caption, or has other text around a caption; else None."""
    described = _behind(text, trigger)
    if (kind := format_of(described)) is not None and any(map(str.isalnum, described)):
        return Note(code="caption-markup", detail=f"{kind}: {excerpt(text)}")
    if _is_lost(text):
        return Note(code="caption-garbled", detail=excerpt(text))
    if _says_nothing(described, text, trigger):
        return Note(code="caption-failed", detail=excerpt(text))
    if has_chat(described):
        return Note(code="caption-chat", detail=excerpt(text))
    return None


def excerpt(text: str) -> str:
    """Return the first 40 characters of a text on one line, to quote it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"


def _behind(text: str, trigger: str | None) -> str:
    """Return the text without a trigger word at its start."""
    if trigger and text.casefold().startswith(trigger.casefold()):
        return text[len(trigger) :].lstrip(" ,:;\n")
    return text


def _is_lost(text: str) -> bool:
    """Whether the program that wrote the text replaced letters with � or question marks."""
    visible = sum(not letter.isspace() for letter in text)
    return "\ufffd" in text or ("???" in text and text.count("?") > 0.4 * visible)


def _says_nothing(described: str, text: str, trigger: str | None) -> bool:
    if not described or (trigger and text.casefold() == trigger.casefold()):
        return False  # the trigger word alone is a valid caption
    if is_numbered_placeholder(text):
        return True
    said = without_tokens(described)
    # A text without letters, digits and emoji says nothing. Some captioning models write only
    # "!!!!!" when run in half precision.
    if not any(letter.isalnum() or unicodedata.category(letter) == "So" for letter in said):
        return True
    head, comma, tail = described.partition(", ")
    # One or two words before a comma may be a trigger word that the user did not declare. So the
    # text after the comma is checked too.
    starts = [described, tail] if comma and len(head.split()) <= _LONGEST_PREFIX else [described]
    return any(is_failure(start) or is_refusal(start) for start in starts)
