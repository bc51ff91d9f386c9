"""Explains why a trainer or cache script failed, from its log's tail and exit code."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PureWindowsPath
from types import MappingProxyType

from training.estimates.gpu_memory import USUAL_SHAPES, MemoryUse, TrainingShape, lighter
from training.files.sizes import MIB
from training.musubi.failures.endings import LastWords, by_exit_code
from training.musubi.failures.known.catalogue import ENTRIES
from training.musubi.failures.known.entry import KnownFailure
from training.musubi.failures.last_words import last_words, no_number
from training.musubi.failures.log_text import plain_lines
from training.remedies import CacheAgain, Suggestion

UNKNOWN = "unknown"
_UNKNOWN_FIX = "Look for the cause in the log, fix it and resume the run."
# Only this much of a log's end is searched. It is ten times as long as an exception that lists all
# keys of a model.
TAIL_BYTES = MIB
# Exit codes that mean a signal: Popen reports -9 for SIGKILL, shells and containers 137.
_SIGNALS: Mapping[int, str] = MappingProxyType(
    {
        code: name
        for number, name in ((9, "SIGKILL"), (15, "SIGTERM"), (2, "SIGINT"))
        for code in (-number, 128 + number)
    }
)
_TARGETS = re.compile(r"target_frames: \(([\d, ]+)\)")
_RESOLUTION = re.compile(r"resolution: \((\d+), (\d+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The cause of a failure, and how to fix it.

    Attributes:
        resumable: Whether the run can resume once the fix or the suggestion is applied.
        retry: Whether the same run is likely to succeed later or on another machine.
        suggestion: A change that may help, such as a different setting; None if there is none.
    """

    code: str
    cause: str
    fix: str
    resumable: bool
    retry: bool = False
    suggestion: Suggestion | None = None


def explain(log: str, exit_code: int | None = None, use: MemoryUse | None = None) -> Failure | None:
    """Return the failure at the end of a log; None if nothing failed.

    Args:
        log: The program's stdout and stderr in one text, or the last part of it.
        exit_code: The exit code, negative for a signal; None if unknown.
        use: The settings that decide how much GPU memory the program needs; if None, they are read
            from the log or assumed.
    """
    text = plain_lines(log)
    words = _words(text, exit_code)
    if words is None:
        return None if exit_code in (None, 0) else _silent(text, exit_code)
    # Also search the text with its lines joined, because a console or box may wrap long lines.
    joined = " ".join(words.exception.split())
    for shown in (words.exception, joined):
        for entry in ENTRIES:
            match = re.search(entry.pattern, shown, re.DOTALL | re.MULTILINE)
            if match and re.search(entry.within, words.frames):
                return _failure(entry, match, words, use or _use_in(text))
    return Failure(
        code=UNKNOWN,
        cause=f"The program failed with an unknown error: {words.line}",
        fix=_UNKNOWN_FIX,
        resumable=True,
    )


def _words(text: str, exit_code: int | None) -> LastWords | None:
    if exit_code == 0:
        return no_number(text)
    if exit_code is not None and (ended_by := _SIGNALS.get(exit_code)) is not None:
        # A signal explains the end, whatever the program printed before it.
        return LastWords(f"died with <Signals.{ended_by}>")
    return last_words(text) or (by_exit_code(exit_code) if exit_code is not None else None)


def _failure(
    entry: KnownFailure, match: re.Match[str], words: LastWords, use: MemoryUse
) -> Failure:
    # Show only file names, because a chat should not show the machine's folders. Group names must
    # be unique, so the groups in a pattern's alternatives are named `file`, `file2` and so on.
    caught = {
        name.rstrip("0123456789"): PureWindowsPath(value).name or value
        for name, value in match.groupdict().items()
        if value is not None
    }
    suggestion: Suggestion | None = None
    if entry.relief == "memory":
        suggestion = lighter(use)
    elif entry.relief == "caches":
        suggestion = CacheAgain()
    return Failure(
        code=entry.code,
        cause=entry.cause.format(line=words.line, **caught),
        fix=entry.fix,
        resumable=entry.resumable,
        retry=entry.retry,
        suggestion=suggestion,
    )


def _silent(text: str, exit_code: int | None) -> Failure:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = f"the last line is {lines[-1][:300]!r}" if lines else "it printed nothing"
    return Failure(
        code=UNKNOWN,
        cause=f"The program ended with exit code {exit_code} and no exception; {last}.",
        fix=_UNKNOWN_FIX,
        resumable=True,
    )


def _use_in(log: str) -> MemoryUse:
    """Return the settings that decide memory use, from the list of datasets in the log.

    If the log has no such list, assume the shapes that a run trains on by default.
    """
    shapes: list[TrainingShape] = []
    for part in log.split("[Dataset ")[1:]:
        size, targets = _RESOLUTION.search(part), _TARGETS.search(part)
        if size is None:
            continue
        frames = [int(n) for n in re.findall(r"\d+", targets[1])] if targets else [1]
        shapes += [TrainingShape((int(size[1]), int(size[2])), count) for count in frames]
    is_caching = "Encoding dataset [" in log
    swappable = 0 if is_caching else 39
    return MemoryUse(shapes=tuple(shapes) or USUAL_SHAPES, swappable=swappable)
