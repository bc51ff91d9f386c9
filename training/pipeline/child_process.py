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

from training.errors import StageError
from training.estimates.gpu_memory import MemoryUse
from training.files.patient_file import PatientFile
from training.musubi.failures.explain import TAIL_BYTES, explain
from training.musubi.progress import EXIT_BROKE, EXIT_STOPPED
from training.musubi.progress_reader import read_events
from training.pipeline.stage_writes import StageInterruptedError
from training.remedies import ResumeRun
from training.runs.training_events import ProgressEvent

# A stage on Modal has 30 s to stop: 20 s for its program to end, and 10 s to store its files.
STOP_SECONDS = 20.0
LOG_SECONDS = 10.0  # time between two calls of `Listener.show_log`
_LAST_SECONDS = 5.0  # longest wait for the end of a program's output
_COPY_BYTES = 64 * 1024
_WAITING_BYTES = 1024 * 1024  # the most output that is kept in memory while the disk is full
_PR_SET_PDEATHSIG = 1


class LossBrokeError(Exception):
    """The trainer ended because the loss became NaN or infinite; see its `LossBroke` event."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Receives a command's events and output.

    Attributes:
        on_event: Called with every progress event.
        show_log: Called every 10 s, from another thread, with the log file's path.
    """

    on_event: Callable[[ProgressEvent], None]
    show_log: Callable[[Path], None]


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

    If the GPU's memory runs out, the error suggests a change that depends on `memory`.

    Raises:
        LossBrokeError: The training loss became NaN or infinite.
        StageInterruptedError: The command was stopped or killed, or failed in a way that another
            attempt may avoid.
        StageError: The command failed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    output = _Output(log)
    try:
        process = start_command(command, environment, output.writing, writing)
    finally:
        os.close(writing)
        output.begin()
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
        output.end()
    _judge(code, output.last_words(), stopping, memory)


class _Output:
    """Copies a program's output to its log, and keeps the end of the output in memory.

    If the program wrote to the log itself, it would fail as soon as the disk was full.
    """

    def __init__(self, log: Path) -> None:
        self._reading, self.writing = os.pipe()
        self._file = PatientFile(log, _WAITING_BYTES)
        self._tail = bytearray()
        self._thread = threading.Thread(target=self._copy, name="log", daemon=True)

    def begin(self) -> None:
        """Start copying the output. Call this after the program has been started."""
        os.close(self.writing)
        self._thread.start()

    def end(self) -> None:
        """Wait until the output is copied. Call this after the program has ended."""
        # A process that left the program's group may still hold the pipe. Its output is not needed.
        self._thread.join(_LAST_SECONDS)

    def last_words(self) -> str:
        return self._tail.decode("utf-8", "replace")

    def _copy(self) -> None:
        while data := os.read(self._reading, _COPY_BYTES):
            self._tail += data
            del self._tail[:-TAIL_BYTES]
            with suppress(OSError):  # an incomplete log must not stop the program
                self._file.write(data)
        os.close(self._reading)
        self._file.close()


def start_command(
    command: tuple[str, ...], environment: Mapping[str, str], output: int, progress: int
) -> subprocess.Popen[bytes]:
    """Start a command in a new process group.

    The command writes its log and its events to the file descriptors `output` and `progress`.
    """
    libc, stage = ctypes.CDLL(None), os.getpid()

    def die_with_the_stage() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != stage:  # the stage's process died before `prctl` was called
            os._exit(1)

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**os.environ, **environment, "LORABOT_PROGRESS_FD": str(progress)},
        pass_fds=(progress,),
        start_new_session=True,
        # Kill the command whenever the stage's process dies, since nobody would read its events.
        preexec_fn=die_with_the_stage,
    )


def _watch(
    process: subprocess.Popen[bytes], stopping: threading.Event, show_log: Callable[[], None]
) -> None:
    """Show the log regularly, stop the program on request, and finally kill its process group."""
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


def _judge(code: int, last_words: str, stopping: threading.Event, memory: MemoryUse | None) -> None:
    if code == 0:
        return
    if stopping.is_set() or code == EXIT_STOPPED:
        raise StageInterruptedError("stopped on request")
    if code == EXIT_BROKE:
        raise LossBrokeError
    if code in (-signal.SIGKILL, -signal.SIGTERM):
        raise StageInterruptedError(f"the program was killed by signal {-code}")
    failure = explain(last_words, code, memory)
    if failure is None:
        raise ValueError(f"exit code {code} is a failure")
    if failure.retry:
        raise StageInterruptedError(failure.cause)
    remedy = failure.suggestion or (ResumeRun() if failure.resumable else None)
    raise StageError(failure.cause, failure.fix, remedy)
