"""A pool of decoding processes; a process that dies is replaced."""

import os
import queue
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from training.dataset.decoding.guard import Guard
from training.dataset.decoding.messages import DecoderReply, DecoderRequest
from training.dataset.limits import Limits
from training.files.code_path import CODE_ROOT, python_path
from training.files.parallel import usable_cores
from training.files.sizes import MIB

# A process takes 70 to 80 MiB of memory at 1280 x 720, so three stay under 300 MiB.
MOST_LOOKING = 3
MOST_CONVERTING = 16
# Starting a process takes as long as decoding this much data, so one more process pays off only if
# there is that much more to decode.
PAYS_BYTES = 8 * MIB
KEPT_ENVIRONMENT = (
    *("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR"),
    *("SYSTEMROOT", "TEMP", "TMP"),  # Windows cannot start programs without SYSTEMROOT
)


@dataclass(slots=True)
class _Worker:
    """A decoding process. It is started by the first request, and again after a failure."""

    limits: Limits
    process: subprocess.Popen[str] | None = None

    def ask(self, request: DecoderRequest) -> DecoderReply:
        """Send a request and return the reply; if the process fails, `failure` says why."""
        process = self.process = self.process or start_worker(self.limits)
        assert process.stdin is not None
        assert process.stdout is not None
        line = ""
        # If the process has ended, Linux reports a broken pipe, Windows an invalid argument.
        with Guard(process, self.limits) as guard, suppress(OSError, ValueError):
            process.stdin.write(request.model_dump_json() + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        if line.endswith("\n"):
            with suppress(ValidationError):  # a hijacked decoder may reply with anything
                return DecoderReply.model_validate_json(line)
        self.stop()
        return DecoderReply(failure=guard.why or "crashed the decoder")

    def stop(self) -> None:
        """End the process and wait for it; the next request starts a new one."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # the process may not have read all its input
                    pipe.close()

    def kill(self) -> None:
        """Kill the process without waiting, so that a thread in `ask` gets no reply and returns."""
        if self.process is not None:
            self.process.kill()


class Pool:
    """Runs requests in separate processes with limited memory and time.

    If a file crashes its process, only the reply about that file is lost.
    """

    def __init__(self, limits: Limits, files: int, size_bytes: int, *, most: int) -> None:
        cores = usable_cores()
        count = limits.workers or min(most, cores)
        self.size = max(1, min(count, files, 1 + size_bytes // PAYS_BYTES))
        # How many threads each decoder may use. A thread is cheaper than another process.
        self.threads = max(2, -(-cores // self.size))
        self._workers = [_Worker(limits) for _ in range(self.size)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(self.size, thread_name_prefix="decode")

    def submit(self, request: DecoderRequest) -> Future[DecoderReply]:
        """Queue a request; at most `size` requests run at once."""
        return self._threads.submit(self._run, request)

    def _run(self, request: DecoderRequest) -> DecoderReply:
        worker = self._idle.get()
        try:
            return worker.ask(request)
        finally:
            self._idle.put(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.stop()


def start_worker(limits: Limits) -> subprocess.Popen[str]:
    """Start a decoding process."""
    environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    # One BLAS thread is enough; more would only cost start-up time and address space. Requests
    # hold paths in UTF-8, which Windows would otherwise read in an older encoding.
    environment |= {"PYTHONPATH": python_path(), "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    settings = [f"{name}={value}" for name, value in asdict(limits).items()]
    return subprocess.Popen(
        [sys.executable, "-m", "training.dataset.decoding.worker", *settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=CODE_ROOT,
        text=True,
        encoding="utf-8",
    )
