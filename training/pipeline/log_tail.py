"""Finds the last lines that a run's cache or train program printed, for display."""

import os
from dataclasses import dataclass
from pathlib import Path

from training.pipeline.run_view import stage_keys
from training.pipeline.runtime import Runtime
from training.runs.state import Run, StageStatus
from training.vocabulary import StageKey

TAIL_BYTES = 6_000
PRINTING = ("cache", "train")  # the stages that have a log


@dataclass(frozen=True, slots=True)
class LogTail:
    """The last lines of one stage's output."""

    key: StageKey
    attempt: int
    text: str


def end_of(log: Path) -> bytes:
    """Return at most the last 6,000 bytes of a log; b"" if it does not exist."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""


def log_tail(runtime: Runtime, run: Run) -> LogTail | None:
    """Return the end of one log: a running stage's, else a failed stage's, else the newest.

    Only `cache` and `train` have a log; return None if neither has written anything.
    """
    begun = [k for k in stage_keys(run.spec) if k.stage in PRINTING and run.stage(k).attempt]
    working = [key for key in begun if run.stage(key).status is StageStatus.RUNNING]
    failed = [key for key in begun if run.stage(key).status is StageStatus.FAILED]
    found = (_tail(runtime, run, key) for key in (*working, *failed, *reversed(begun)))
    return next(filter(None, found), None)


def log_tails(runtime: Runtime, run: Run) -> list[LogTail]:
    """Return the end of each expert's training log, or of the cache log if there is none."""
    found = [_tail(runtime, run, StageKey("train", expert.name)) for expert in run.spec.experts]
    trained = [tail for tail in found if tail is not None]
    return trained or [tail for tail in [_tail(runtime, run, StageKey("cache"))] if tail]


def _tail(runtime: Runtime, run: Run, key: StageKey) -> LogTail | None:
    attempt = run.stage(key).attempt
    data = _read(runtime, run, key, attempt) if attempt else b""
    return LogTail(key, attempt, _lines(data)) if data else None


def _read(runtime: Runtime, run: Run, key: StageKey, attempt: int) -> bytes:
    keys, is_working = run.spec.keys, run.stage(key).status is StageStatus.RUNNING
    if is_working and (shown := runtime.live.read(keys.log_tail(key))):
        return shown
    try:
        return runtime.store.read(keys.log(key, attempt))[-TAIL_BYTES:]
    except FileNotFoundError:
        return b""


def _lines(data: bytes) -> str:
    """Return the complete lines as text, with only the last state of each progress bar."""
    text = data.decode("utf-8", "replace")
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join(lines[1:] if len(data) >= TAIL_BYTES else lines).strip() + "\n"
