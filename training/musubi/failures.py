"""Why a trainer or caching ended, from the end of its log and its exit code."""

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
TAIL_BYTES = 1024 * 1024  # of a log: an exception that lists a model's keys fills a tenth
# The first that fits counts. Source: musubi-tuner v0.3.4, run with each mistake.
ENTRIES: tuple[KnownFailure, ...] = (*MACHINE, *FILES, *OPTIONS)
# As a signal is told: by Popen, and by a shell or container.
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
    """What went wrong and what can be done.

    Attributes:
        resumable: Whether the run can go on from what it saved, once the fix or the suggestion is
            applied.
        suggestion: A changed setting that may help, where one does.
    """

    code: str
    cause: str
    fix: str
    resumable: bool
    suggestion: Suggestion | None = None


def explain(log: str, exit_code: int | None = None, use: MemoryUse | None = None) -> Failure | None:
    """Return what the end of a log tells of its failure, None where nothing has failed.

    Args:
        log: All that was printed, or its end; both streams in one.
        exit_code: What the process ended with, negative for a signal; None when nobody knows.
        use: What it asked of the GPU's memory; read from the log, or the usual, when not given.
    """
    if exit_code == 0:
        return None
    words = last_words(log) or (shell_verdict(log) if exit_code is None else None)
    if exit_code is not None and (ended_by := _SIGNALS.get(exit_code)) is not None:
        # Whatever was printed before, it was the signal that ended it.
        words = LastWords(f"died with <Signals.{ended_by.name}>")
    if words is None:
        return None if exit_code is None else _silent(log, exit_code)
    for entry in ENTRIES:
        match = re.search(entry.pattern, words.exception, re.DOTALL | re.MULTILINE)
        if match and re.search(entry.within, words.frames):
            return _failure(entry, match, words, use or _use_in(log))
    return Failure(
        code=UNKNOWN,
        cause=f"The program failed in a way that is not known here: {words.line}",
        fix="See the log for what came before; start the run again once that is mended.",
        resumable=True,
    )


def _failure(
    entry: KnownFailure, match: re.Match[str], words: LastWords, use: MemoryUse
) -> Failure:
    # Of a path the name says enough, and the folders are nobody's business in a chat.
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
        fix="See the log for what came before; start the run again once that is mended.",
        resumable=True,
    )


def _use_in(log: str) -> MemoryUse:
    """Return what the log says of the datasets; musubi-tuner prints them before it starts."""
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
