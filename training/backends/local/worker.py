"""The worker service: it runs queued calls, as many at once as a device has slots."""

import logging
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from training.backends.local.queue import LocalBackend, QueuedCall
from training.files.locks import hold

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
TICK_SECONDS = 2.0
IDLE_SECONDS = 20.0
TROUBLE_SECONDS = 2.0


@dataclass(slots=True)
class Worker:
    """Runs the queued calls of one machine, and ends after it has been idle for a while.

    If a worker is killed, its stages keep running, and the next worker takes them over.
    """

    backend: LocalBackend
    slots: Mapping[str, int]
    command: Callable[[int], tuple[str, ...]]
    tick: Callable[[], int]  # advances the open runs and returns how many there are
    _children: dict[int, subprocess.Popen[bytes]] = field(
        default_factory=dict[int, subprocess.Popen[bytes]]
    )
    _last_tick: float = float("-inf")
    _trouble: str = ""

    def serve(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Work until there has been nothing to do for a while, or `should_stop` returns True.

        If anything fails, such as a write to a full disk, the service pauses and tries again: it
        must not leave the machine's stages without a service.
        """
        last_work = time.monotonic()
        is_first = True
        while not should_stop():
            try:
                if is_first:
                    self.backend.check()
                    is_first = False
                is_busy = self._work()
            except Exception as error:  # noqa: BLE001  # see the docstring
                self._wait_out(error)
                is_busy = True
            else:
                self._trouble = ""
            now = time.monotonic()
            if is_busy:
                last_work = now
            if now - last_work >= IDLE_SECONDS:
                return
            time.sleep(POLL_SECONDS)

    def _work(self) -> bool:
        """Start calls while slots are free, and advance runs; return whether any work is left."""
        self._reap()
        self._start_what_fits()
        now = time.monotonic()
        open_runs = 0
        if now - self._last_tick >= TICK_SECONDS:
            self._last_tick = now
            open_runs = self.tick()
        return open_runs > 0 or not self.backend.is_idle()

    def _wait_out(self, error: Exception) -> None:
        """Pause after an error, and log it once."""
        trouble = f"{type(error).__name__}: {error}"
        if trouble != self._trouble:
            self._trouble = trouble
            # Log a traceback only for unexpected errors.
            logger.error("the worker waits: %s", trouble, exc_info=not isinstance(error, OSError))
        time.sleep(TROUBLE_SECONDS)

    def _reap(self) -> None:
        for queued in self.backend.running():
            child = self._children.get(queued.number)
            if child is not None and child.poll() is None:
                continue
            if child is None and self.backend.is_alive(queued.number):
                continue
            self._children.pop(queued.number, None)
            self.backend.mark_ended(queued.number)
            logger.info("run %s: %s ended", queued.call.run, queued.call.key)

    def _start_what_fits(self) -> None:
        for device, slots in self.slots.items():
            busy = sum(1 for queued in self.backend.running() if queued.call.device == device)
            for _ in range(slots - busy):
                queued = self.backend.next_queued(device)
                if queued is None:
                    break
                self._start(queued)

    def _start(self, queued: QueuedCall) -> None:
        with self.backend.lock_file(queued.number).open("ab") as lock:
            # The process inherits the lock, so the file stays locked while the process lives.
            if not hold(lock):
                # An earlier worker started this process, but was killed before it recorded that.
                self.backend.mark_running(queued.number, None)
                return
            child = subprocess.Popen(
                self.command(queued.number),
                stdin=subprocess.DEVNULL,
                pass_fds=(lock.fileno(),),
                start_new_session=True,
                env=os.environ,
            )
            self._children[queued.number] = child
            self.backend.mark_running(queued.number, child.pid)
        logger.info("run %s: %s started", queued.call.run, queued.call.key)
