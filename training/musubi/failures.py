"""Explains why a trainer or cache script failed, from its log's tail and exit code."""

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType

from training.estimates.gpu_memory import USUAL_SHAPES, MemoryUse, TrainingShape, lighter
from training.musubi.known_failures.entry import KnownFailure
from training.musubi.known_failures.files import FILES
from training.musubi.known_failures.machine import MACHINE
from training.musubi.known_failures.options import OPTIONS
from training.musubi.last_words import LastWords, last_words, shell_verdict
from training.remedies import CacheAgain, Suggestion

UNKNOWN = "unknown"
TAIL_BYTES = 1024 * 1024  # an exception that lists a model's keys fills a tenth of it
# The first match wins. Source: musubi-tuner v0.3.4, run with each mistake.
ENTRIES: tuple[KnownFailure, ...] = (*MACHINE, *FILES, *OPTIONS)
# How Popen, and a shell or container, report a signal.
_SIGNALS: Mapping[int, signal.Signals] = MappingProxyType(
    {
        code: name
        for name in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
        for code in (-name, 128 + name)
    }
)
_TARGETS = re.compile(r"target_frames: \(([\d, ]+)\)")
_RESOLUTION = re.compile(r"resolution: \((\d+), (\d+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong and how to fix it.

    Attributes:
        resumable: Whether the run can resume once the fix or the suggestion is applied.
        suggestion: A changed setting that may help.
    """

    code: str
    cause: str
    fix: str
    resumable: bool
    suggestion: Suggestion | None = None


def explain(log: str, exit_code: int | None = None, use: MemoryUse | None = None) -> Failure | None:
    """Return the failure that a log ends with, or None if nothing failed.

    Args:
        log: The output or its tail, both streams in one.
        exit_code: The exit code, negative for a signal; None if unknown.
        use: Its demand for GPU memory; by default taken from the log, or a typical value.
    """
    if exit_code == 0:
        return None
    words = last_words(log) or (shell_verdict(log) if exit_code is None else None)
    if exit_code is not None and (ended_by := _SIGNALS.get(exit_code)) is not None:
        # The signal ended it, whatever was printed before.
        words = LastWords(f"died with <Signals.{ended_by.name}>")
    if words is None:
        return None if exit_code is None else _silent(log, exit_code)
    for entry in ENTRIES:
        match = re.search(entry.pattern, words.exception, re.DOTALL | re.MULTILINE)
        if match and re.search(entry.within, words.frames):
            return _failure(entry, match, words, use or _use_in(log))
    return Failure(
        code=UNKNOWN,
        cause=f"The program failed with an unknown error: {words.line}",
        fix="Check the log for what led to it, fix that and resume the run.",
        resumable=True,
    )


def _failure(
    entry: KnownFailure, match: re.Match[str], words: LastWords, use: MemoryUse
) -> Failure:
    # File names are enough; a chat should not show the machine's folders.
    caught = {n: PurePosixPath(v).name for n, v in match.groupdict().items() if v is not None}
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
        suggestion=suggestion,
    )


def _silent(log: str, exit_code: int) -> Failure:
    lines = [line.strip() for line in re.split(r"[\r\n]", log) if line.strip()]
    last = f"the last line is {lines[-1][:300]!r}" if lines else "it printed nothing"
    return Failure(
        code=UNKNOWN,
        cause=f"The program ended with exit code {exit_code} and no exception; {last}.",
        fix="Check the log for what led to it, fix that and resume the run.",
        resumable=True,
    )


def _use_in(log: str) -> MemoryUse:
    """Return the memory use of the datasets that musubi-tuner printed at its start."""
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
