"""One command of musubi-tuner, watched: when its events came, and how much memory it took."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from training.musubi.progress_reader import read_events
from training.pipeline.child_process import start_command
from training.runs.training_events import ProgressEvent

_SAMPLE_SECONDS = 0.25
_ANONYMOUS = re.compile(r"^RssAnon:\s+(\d+) kB", re.MULTILINE)
_PROPORTIONAL = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)
_GPU_QUERY = (
    "nvidia-smi",
    "--query-gpu=memory.used",
    "--format=csv,noheader,nounits",
    "-lms",
    "250",
)


@dataclass(slots=True)
class Watched:
    """Observations of one command; times are seconds since its start.

    `host_mib` is the memory of all its processes without mapped files; `pss_mib` also counts mapped
    files, in proportion to how many processes share each page, and is None where the kernel does
    not tell. `gpu_mib` is the memory in use on the whole device, None if there is none.
    `core_seconds` is the time that all processes used cores up to an event, one per event.
    """

    events: list[tuple[float, ProgressEvent]] = field(
        default_factory=list[tuple[float, ProgressEvent]]
    )
    code: int = 0
    seconds: float = 0.0
    signalled_at: float | None = None
    core_seconds: list[float] = field(default_factory=list[float])
    host_mib: int = 0
    pss_mib: int | None = None
    gpu_mib: int | None = None


class Run:
    """Starts a command in a process group of its own and reads its progress to the end."""

    def __init__(self, command: tuple[str, ...], environment: Mapping[str, str], log: Path) -> None:
        self.watched = Watched()
        self._log = log
        reading, writing = os.pipe()
        self._reading = reading
        self._began = time.monotonic()
        with log.open("wb") as output:
            self._process = start_command(command, environment, output.fileno(), writing)
        os.close(writing)

    def finish(self, on_event: Callable[["Run", ProgressEvent], None]) -> Watched:
        """Pass on every event as it comes; return the observations when the command has ended."""
        watched = self.watched
        try:
            with self._memory():
                for event in read_events(self._reading):
                    watched.events.append((self._now(), event))
                    watched.core_seconds.append(_core_seconds(self._process.pid))
                    on_event(self, event)
                watched.code = self._process.wait()
                watched.seconds = self._now()
        finally:
            os.close(self._reading)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return watched

    def terminate_in(self, seconds: float) -> None:
        """Send SIGTERM to the whole group after this many seconds."""

        def terminate() -> None:
            self.watched.signalled_at = self._now()
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGTERM)

        threading.Timer(seconds, terminate).start()

    def tail(self, lines: int = 25) -> str:
        """Return the last lines that the command printed."""
        text = self._log.read_text("utf-8", "replace").replace("\r", "\n")
        return "\n".join(text.splitlines()[-lines:])

    def _now(self) -> float:
        return time.monotonic() - self._began

    @contextmanager
    def _memory(self) -> Generator[None]:
        over, smi = threading.Event(), None
        watchers = [threading.Thread(target=self._watch_host, args=(over,))]
        with suppress(FileNotFoundError):
            smi = subprocess.Popen(_GPU_QUERY, stdout=subprocess.PIPE, text=True)
            watchers.append(threading.Thread(target=self._watch_gpu, args=(smi,)))
        for watcher in watchers:
            watcher.start()
        try:
            yield
        finally:
            over.set()
            if smi is not None:
                smi.terminate()
            for watcher in watchers:
                watcher.join()

    def _watch_host(self, over: threading.Event) -> None:
        while not over.wait(_SAMPLE_SECONDS):
            watched, family = self.watched, _family(self._process.pid)
            watched.host_mib = max(watched.host_mib, sum(map(_anonymous_kib, family)) // 1024)
            shares = [share for pid in family if (share := _proportional_kib(pid)) is not None]
            if shares:
                watched.pss_mib = max(watched.pss_mib or 0, sum(shares) // 1024)

    def _watch_gpu(self, smi: subprocess.Popen[str]) -> None:
        with smi:
            for line in smi.stdout or ():
                if line.strip().isdigit():
                    self.watched.gpu_mib = max(self.watched.gpu_mib or 0, int(line))


def _family(pid: int) -> list[int]:
    with suppress(psutil.Error):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []


def _core_seconds(pid: int) -> float:
    used = 0.0
    for member in _family(pid):
        with suppress(psutil.Error):
            times = psutil.Process(member).cpu_times()
            used += times.user + times.system
    return used


def _anonymous_kib(pid: int) -> int:
    return _kib(_ANONYMOUS, Path(f"/proc/{pid}/status")) or 0


def _proportional_kib(pid: int) -> int | None:
    return _kib(_PROPORTIONAL, Path(f"/proc/{pid}/smaps_rollup"))


def _kib(line: re.Pattern[str], file: Path) -> int | None:
    with suppress(OSError):
        found = line.search(file.read_text())
        return int(found[1]) if found else None
    return None
