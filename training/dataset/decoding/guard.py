"""Limits the time and memory of a decoding process.

On Linux, the process limits its own memory, and the system enforces the limit. Windows and macOS
have no such limit, so the parent process watches how much memory the decoding process takes.
"""

import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from training.dataset.limits import Limits
from training.files.sizes import size

if sys.platform == "linux":
    import resource

_LIMITS_ITSELF = sys.platform == "linux"
_PAUSE_SECONDS = 0.05


def limit_this_process(limits: Limits) -> None:
    """Limit the memory of this process, if the system supports that."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (limits.worker_bytes, limits.worker_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Guard:
    """Kills a process that runs too long, or that uses too much memory if the system sets no limit.

    Attributes:
        why: Why the process was killed; None if it was not.
    """

    def __init__(
        self,
        process: subprocess.Popen[str],
        limits: Limits,
        *,
        watches_memory: bool = not _LIMITS_ITSELF,
    ) -> None:
        self.why: str | None = None
        self._process, self._limits = process, limits
        self._pause_seconds = _PAUSE_SECONDS if watches_memory else float("inf")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="decoder guard", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        seconds, most_bytes = self._limits.worker_seconds, self._limits.worker_bytes
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._is_over.wait(min(left, self._pause_seconds)):
                return
            if self._pause_seconds < left and _memory_bytes(self._process.pid) > most_bytes:
                self._kill(f"used more than {size(most_bytes)} of memory")
                return
        self._kill(f"took longer than {seconds} s")

    def _kill(self, why: str) -> None:
        self.why = why
        self._process.kill()


def _memory_bytes(pid: int) -> int:
    """Return the memory that a process and its children hold, in bytes; 0 if it has ended.

    On Windows, a virtual environment's Python only launches the real Python, as its child.
    """
    import psutil  # noqa: PLC0415  # loads slowly, and is not needed on Linux

    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            held = one.memory_info()
            # Windows counts private memory even while it is swapped out.
            total += int(getattr(held, "private", held.rss))
    return total
