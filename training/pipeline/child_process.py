"""Runs a stage's command in a process group that never outlives the stage."""

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from training.errors import StageError
from training.estimates.gpu_memory import MemoryUse
from training.musubi.failures import TAIL_BYTES, explain
from training.musubi.progress import EXIT_STOPPED
from training.musubi.progress_reader import read_events
from training.pipeline.stage_runner import StageInterruptedError
from training.remedies import ResumeRun
from training.runs.training_events import ProgressEvent

# A stage has 30 s to stop on Modal; the rest is for storing what the program saved.
STOP_SECONDS = 20.0
LOG_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


def _show_nothing(_log: Path) -> None:
    """Ignore the log."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Receives a command's events and output.

    Attributes:
        on_event: Called with every progress event.
        show_log: Called every few seconds, from another thread, with the log file.
    """

    on_event: Callable[[ProgressEvent], None]
    show_log: Callable[[Path], None] = _show_nothing


def run_command(
    command: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    log: Path,
    stopping: threading.Event,
    listener: Listener,
    memory: MemoryUse | None = None,
) -> None:
    """Run a command to its end and pass its events and output to the listener.

    `memory` is the command's GPU memory use, for suggestions when it runs out.

    Raises:
        StageInterruptedError: It was stopped or killed.
        StageError: It failed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    with log.open("ab") as output:
        start = output.tell()
        process = start_command(command, environment, output, writing)
    os.close(writing)
    show = partial(listener.show_log, log)
    watcher = threading.Thread(target=_watch, args=(process, stopping, show), daemon=True)
    watcher.start()
    try:
        for event in read_events(reading):
            listener.on_event(event)
        code = process.wait()
    finally:
        os.close(reading)
        _kill_group(process)
        watcher.join()
    _judge(code, log, start, stopping, memory)


def start_command(
    command: tuple[str, ...], environment: Mapping[str, str], output: BinaryIO, progress: int
) -> subprocess.Popen[bytes]:
    """Start a command in a new process group; it writes its events to `progress`."""
    libc = ctypes.CDLL(None)

    def die_with_the_stage() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**os.environ, **environment, "LORABOT_PROGRESS_FD": str(progress)},
        pass_fds=(progress,),
        start_new_session=True,
        # Dies with the stage, however that ends: nothing would read its events.
        preexec_fn=die_with_the_stage,
    )


def _watch(
    process: subprocess.Popen[bytes], stopping: threading.Event, show_log: Callable[[], None]
) -> None:
    """Stop the group on request, and kill what the program leaves behind."""
    shown_at = time.monotonic()
    while process.poll() is None:
        if not stopping.wait(0.2):
            if time.monotonic() - shown_at >= LOG_SECONDS:
                shown_at = time.monotonic()
                show_log()
            continue
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        break
    _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _judge(
    code: int, log: Path, start: int, stopping: threading.Event, memory: MemoryUse | None
) -> None:
    if code == 0:
        return
    if stopping.is_set() or code == EXIT_STOPPED:
        raise StageInterruptedError("stopped on request")
    if code in (-signal.SIGKILL, -signal.SIGTERM):
        raise StageInterruptedError(f"the program was killed by signal {-code}")
    failure = explain(_end_of(log, start), code, memory)
    if failure is None:
        raise ValueError(f"exit code {code} is a failure")
    remedy = failure.suggestion or (ResumeRun() if failure.resumable else None)
    raise StageError(failure.cause, failure.fix, remedy)


def _end_of(log: Path, start: int) -> str:
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - TAIL_BYTES))
        return file.read().decode("utf-8", "replace")
