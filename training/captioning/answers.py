"""Turns the answer of a captioning model into a caption, or refuses it."""

import re

from training.captioning.captioner import NoCaptionError
from training.dataset.captions.caption import holds_trigger, text_notes, tidy

_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL | re.IGNORECASE)
_QUOTES = (('"', '"'), ("\u201c", "\u201d"), ("'", "'"))
_WHY = {
    "empty-caption": "the answer was empty",
    "caption-failed": "the captioner refused or failed",
    "caption-chat": "the answer was a remark rather than a caption",
    "caption-markup": "the answer was not plain text",
    "caption-garbled": "the answer could not be read",
    "caption-too-long": "the answer was longer than Wan can read",
}


def caption_of(answer: str, trigger: str | None) -> str:
    """Return the caption in a model's answer, with the trigger word.

    Raises:
        NoCaptionError: The answer is a refusal, or not a caption for another reason.
    """
    text = " ".join(tidy(_THOUGHTS.sub("", answer)).split())
    for opening, closing in _QUOTES:
        if len(text) > 1 and text.startswith(opening) and text.endswith(closing):
            text = text[1:-1].strip()
    note = next(text_notes(text, trigger), None)
    if note is not None:
        raise NoCaptionError(_WHY[note.code])
    if trigger and not holds_trigger(text, trigger):
        return f"{trigger}, {text}"
    if trigger and text.casefold() == trigger.casefold():
        raise NoCaptionError("the answer was the trigger word alone")
    return text
