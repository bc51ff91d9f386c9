"""A pool of decoding processes that replaces those that die."""

import os
import queue
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from training.dataset.decoding.messages import DecoderReply, DecoderRequest
from training.dataset.limits import MIB, Limits
from training.files.code_path import CODE_ROOT

# Each takes 70 to 80 MiB at 1280 x 720; an inspection stays under 300 MiB.
MOST_LOOKING = 3
MOST_CONVERTING = 16
PAYS_BYTES = 8 * MIB  # starting another process takes as long as decoding about this much
KEPT_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")


@dataclass(slots=True)
class _Worker:
    """A decoding process, started by its first request."""

    limits: Limits
    process: subprocess.Popen[str] | None = None

    def ask(self, request: DecoderRequest) -> DecoderReply:
        """Return the process's reply, or what happened to the process."""
        process = self.process = self.process or start_worker(self.limits)
        assert process.stdin is not None
        assert process.stdout is not None
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            process.kill()

        timer = threading.Timer(self.limits.worker_seconds, give_up)
        timer.start()
        try:
            process.stdin.write(request.model_dump_json() + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (BrokenPipeError, ValueError):
            line = ""
        finally:
            timer.cancel()
        if line.endswith("\n"):
            with suppress(ValidationError):  # a compromised decoder may reply anything
                return DecoderReply.model_validate_json(line)
        self.stop()
        late = f"took longer than {self.limits.worker_seconds} s"
        return DecoderReply(failure=late if is_late.is_set() else "crashed the decoder")

    def stop(self) -> None:
        """End the process; the next request starts another."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # it did not read everything
                    pipe.close()

    def kill(self) -> None:
        """End the process and wake whoever waits for its reply."""
        if self.process is not None:
            self.process.kill()


class Pool:
    """Runs requests in separate, limited processes.

    A file that kills its process only loses its own reply.
    """

    def __init__(self, limits: Limits, files: int, size_bytes: int, *, most: int) -> None:
        cores = len(os.sched_getaffinity(0))
        count = limits.workers or min(most, cores)
        self.size = max(1, min(count, files, 1 + size_bytes // PAYS_BYTES))
        self.threads = max(2, -(-cores // self.size))  # of each decoder: a process costs more
        self._workers = [_Worker(limits) for _ in range(self.size)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(self.size, thread_name_prefix="decode")

    def submit(self, request: DecoderRequest) -> Future[DecoderReply]:
        """Queue a request; at most `size` run at once."""
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
    # One BLAS thread: more only cost start-up time and address space here.
    environment |= {"PYTHONPATH": str(CODE_ROOT), "OPENBLAS_NUM_THREADS": "1"}
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
