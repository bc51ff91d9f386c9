"""Discord's markdown: escaping text, and cutting it without breaking its markup."""

import re
import textwrap

ELLIPSIS = "…"

# An underscore before a letter or digit is not escaped, so my_file_name.mp4 stays as it is. Such an
# underscore can open emphasis but never close it.
_SPECIAL = re.compile(r"[\\*`~|\[<]|_(?![A-Za-z0-9])")
_LINE_START = re.compile(r"^(\s*)([#>+-])", re.MULTILINE)
# Matches markup that must not be split, else a word, else a single character.
_PIECE = re.compile(
    r"""
      ```.*?```
    | \\.
    | `[^`\n]+`
    | \[(?:\\.|[^\]\\\n])*\]\([^)\s]*\)
    | \*\*(?:\\.|[^\\])+?\*\*
    | <[^<>\s]+>
    | \s+
    | [^\s\\`*\[<]+
    | .
    """,
    re.DOTALL | re.VERBOSE,
)
_MARKED = ("```", "\\", "`", "[", "**", "<")


def escape(text: str) -> str:
    """Return markdown that shows `text` literally."""
    return _LINE_START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", text))


def one_line(text: str) -> str:
    """Return `text` as one line; unprintable characters and runs of spaces become one space."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def length(text: str) -> int:
    """Return the length as Discord counts it, in UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """Return `text`, shortened to `limit` and ending in `…` if it is longer; markup stays whole."""
    if length(text) <= limit:
        return text
    room = limit - length(ELLIPSIS)
    kept: list[str] = []
    for match in _PIECE.finditer(text):
        piece = match[0]
        if length(piece) > room:
            # Split a word only if nothing would be kept otherwise; never split markup.
            if not "".join(kept).strip() and not piece.startswith(_MARKED):
                kept.append(_prefix(piece, room))
            break
        kept.append(piece)
        room -= length(piece)
    return "".join(kept).rstrip() + ELLIPSIS


def join_lines(
    lines: list[str], limit: int, more: str = "and {} more", *, of: int | None = None
) -> str:
    """Return the lines that fit into `limit`; a last line counts the others.

    `of` is the total number of lines, for when `lines` holds only the first few.
    """
    total = len(lines) if of is None else of
    if total == len(lines) and length("\n".join(lines)) <= limit:
        return "\n".join(lines)
    room = limit - len(more) - 8
    kept: list[str] = []
    for line in lines:
        room -= length(line) + 1
        if room < 0:
            break
        kept.append(line)
    return cut("\n".join([*kept, more.format(total - len(kept))]), limit)


def _prefix(word: str, units: int) -> str:
    encoded = word.encode("utf-16-le", "surrogatepass")[: max(units, 0) * 2]
    return encoded.decode("utf-16-le", "ignore")


_WIDTH = 96


def wrapped(text: str, indent: int = 2, *, hanging: int = 0) -> list[str]:
    """Wrap a paragraph; all lines but the first are indented by `hanging` more characters."""
    return textwrap.wrap(
        one_line(text),
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_on_hyphens=False,
    )
