"""The tail of a run's program output, for display."""

import os
from dataclasses import dataclass
from pathlib import Path

from training.pipeline.run_view import stage_keys
from training.pipeline.runtime import Runtime
from training.runs.state import Run, StageStatus
from training.store_keys import RunKeys
from training.vocabulary import StageKey

TAIL_BYTES = 6_000
_PRINTING = ("cache", "train")


@dataclass(frozen=True, slots=True)
class LogTail:
    """The last lines of one stage's output."""

    key: StageKey
    attempt: int
    text: str


def end_of(log: Path) -> bytes:
    """Return the last few thousand bytes of a log; empty if it does not exist."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""


def log_tail(runtime: Runtime, run: Run) -> LogTail | None:
    """Return the log tail of the running stage, else of the failed or last one; or None."""
    begun = [k for k in stage_keys(run.spec) if k.stage in _PRINTING and run.stage(k).attempt]
    working = [key for key in begun if run.stage(key).status is StageStatus.RUNNING]
    failed = [key for key in begun if run.stage(key).status is StageStatus.FAILED]
    for key in (*working, *failed, *reversed(begun)):
        attempt = run.stage(key).attempt
        if data := _read(runtime, run, key, attempt, is_working=key in working):
            return LogTail(key, attempt, _lines(data))
    return None


def _read(runtime: Runtime, run: Run, key: StageKey, attempt: int, *, is_working: bool) -> bytes:
    guild, name = run.spec.guild, run.spec.name
    shown = runtime.board.read(RunKeys(guild, name).log_tail(key)) if is_working else None
    if shown:
        return shown
    try:
        return runtime.store.read(RunKeys(guild, name).log(key, attempt))[-TAIL_BYTES:]
    except FileNotFoundError:
        return b""


def _lines(data: bytes) -> str:
    """Return whole lines; of a progress bar, the last drawing."""
    text = data.decode("utf-8", "replace")
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join(lines[1:] if len(data) >= TAIL_BYTES else lines).strip() + "\n"
