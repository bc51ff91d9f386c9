"""Text in Discord's markdown: taking foreign text literally, and cutting between its marks."""

import re
import textwrap

ELLIPSIS = "…"

# An underscore before a letter or digit can open emphasis but never close it, so that
# my_file_name.mp4 stays as it is.
_SPECIAL = re.compile(r"[\\*`~|\[<]|_(?![A-Za-z0-9])")
_LINE_START = re.compile(r"^(\s*)([#>+-])", re.MULTILINE)
# What must not be cut in two, then words, then marks that stand alone.
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
    """Return the markdown that shows `text` as it is."""
    return _LINE_START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", text))


def one_line(text: str) -> str:
    """Return `text` without line breaks and characters that do not print."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def length(text: str) -> int:
    """Return how many characters Discord's clients count: UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """Return `text`, or its longest beginning within `limit` that ends between marks, and `…`."""
    if length(text) <= limit:
        return text
    room = limit - length(ELLIPSIS)
    kept: list[str] = []
    for match in _PIECE.finditer(text):
        piece = match[0]
        if length(piece) > room:
            # A word may be split where nothing else would be left; marked text never.
            if not "".join(kept).strip() and not piece.startswith(_MARKED):
                kept.append(_prefix(piece, room))
            break
        kept.append(piece)
        room -= length(piece)
    return "".join(kept).rstrip() + ELLIPSIS


def join_lines(lines: list[str], limit: int, more: str = "and {} more") -> str:
    """Return the lines that fit into `limit` whole; the others are counted in a last one."""
    if length("\n".join(lines)) <= limit:
        return "\n".join(lines)
    room = limit - len(more) - 8
    kept: list[str] = []
    for line in lines:
        room -= length(line) + 1
        if room < 0:
            break
        kept.append(line)
    return cut("\n".join([*kept, more.format(len(lines) - len(kept))]), limit)


def _prefix(word: str, units: int) -> str:
    encoded = word.encode("utf-16-le", "surrogatepass")[: max(units, 0) * 2]
    return encoded.decode("utf-16-le", "ignore")


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
