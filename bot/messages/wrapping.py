"""Paragraphs of a plain text, for a file or a terminal."""

import textwrap

from bot.messages.markdown import one_line

_WIDTH = 96


def wrapped(text: str, indent: int = 2, *, hanging: int = 0) -> list[str]:
    """Return a paragraph as lines; those after the first stand `hanging` further in."""
    return textwrap.wrap(
        one_line(text),
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_on_hyphens=False,
    )
