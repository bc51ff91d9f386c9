"""Finds the image or clip in a zip that a path in a table refers to.

The path may come from another machine, or be a URL.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from urllib.parse import unquote

from training.dataset.zip.members import Medium

_ADDRESS = re.compile(r"(?i)[a-z][a-z0-9+.-]+://")
_EXTENSION = re.compile(r"\.\w{2,5}")
_QUERY = re.compile(r"[?#].*")
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-")  # Label Studio's prefix of file names


class MediaPaths:
    """Finds images and clips by paths from tables and lists, and by the names of caption files."""

    def __init__(self, media: Iterable[Medium]) -> None:
        self._by_name: dict[str, list[PurePosixPath]] = {}
        self._by_number: dict[int, list[PurePosixPath]] = {}
        for medium in media:
            path = PurePosixPath(medium.member.path)
            for name in {_folded(path.name), _folded(path.stem)}:
                self._by_name.setdefault(name, []).append(path)
            if path.stem.isdecimal():
                self._by_number.setdefault(int(path.stem), []).append(path)

    def find(self, written: str, folder: PurePosixPath | None = None) -> str | None:
        """Return a file's path in the zip; None if no file matches, or several match equally well.

        Args:
            written: A path or URL, with or without extension.
            folder: The folder of the table, to which `written` may be relative.
        """
        for text in _spellings(written):
            wanted = PurePosixPath(text)
            for candidates in self._candidates(wanted):
                if candidates:
                    return _best(candidates, wanted, folder)
        return None

    def has(self, written: str) -> bool:
        """Return whether a path matches at least one file."""
        return any(any(self._candidates(PurePosixPath(text))) for text in _spellings(written))

    def named(self, stem: PurePosixPath) -> str | None:
        """Return the path of the file with this name or stem; None if there is none.

        If there are several, return the one whose folders match those of `stem` best, or None if
        several match equally well.
        """
        return _best(self._by_name.get(_folded(stem.name), []), stem, None)

    def _candidates(self, wanted: PurePosixPath) -> Iterator[list[PurePosixPath]]:
        """Yield groups of files that a path may refer to, the likeliest group first."""
        yield self._by_name.get(_folded(wanted.name), [])
        # The file may have been converted to another format since the table was written.
        if _EXTENSION.fullmatch(wanted.suffix):
            yield self._by_name.get(_folded(wanted.stem), [])
        if wanted.name.isdecimal():  # spreadsheets turn 001 into 1
            yield self._by_number.get(int(wanted.name), [])


def _spellings(written: str) -> Iterator[str]:
    """Yield possible readings of a path: as written, then without URL escapes or prefixes."""
    plain = written.strip().strip("\"'").replace("\\", "/")
    yield plain
    if "%" in plain:
        yield unquote(plain)
    if _ADDRESS.match(plain):
        yield unquote(_QUERY.sub("", plain))
    path = PurePosixPath(plain)
    if _UPLOAD_PREFIX.match(path.name):
        yield str(path.with_name(_UPLOAD_PREFIX.sub("", path.name, count=1) or "-"))


def _best(
    candidates: list[PurePosixPath], wanted: PurePosixPath, folder: PurePosixPath | None
) -> str | None:
    """Return the path whose folders match the wanted ones best; None if several match equally."""
    rank = _rank(wanted, folder)
    ranked = sorted(candidates, key=rank, reverse=True)
    if not ranked or (len(ranked) > 1 and rank(ranked[0]) == rank(ranked[1])):
        return None
    return str(ranked[0])


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _rank(
    wanted: PurePosixPath, folder: PurePosixPath | None
) -> Callable[[PurePosixPath], tuple[int, int, int]]:
    """Return a sort key for how well a path's folders match the wanted ones.

    The key has three counts. The first is how many of the path's folders match those of `wanted`,
    counted from the innermost folder up to the first difference. The second is the same count for
    `folder / wanted`. The third is how many folder names the path shares with `folder / wanted`,
    in any order.
    """
    theirs = [_folded(part) for part in reversed(wanted.parent.parts)]
    places = [_folded(part) for part in reversed(folder.parts)] if folder else []

    def rank(path: PurePosixPath) -> tuple[int, int, int]:
        mine = [_folded(part) for part in reversed(path.parent.parts)]
        from_table = [*theirs, *places]
        return _agreeing(mine, theirs), _agreeing(mine, from_table), len({*mine} & {*from_table})

    return rank


def _agreeing(mine: list[str], theirs: list[str]) -> int:
    count = 0
    for one, other in zip(mine, theirs, strict=False):
        if one != other:
            break
        count += 1
    return count
