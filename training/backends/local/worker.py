"""The worker service: runs queued calls, as many at once as there are slots."""

import fcntl
import logging
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from training.backends.local.queue import LocalBackend, QueuedCall

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
TICK_SECONDS = 2.0
IDLE_SECONDS = 20.0


@dataclass(slots=True)
class Worker:
    """Works through the queue of one machine until it has been idle for a while.

    If a worker is killed, its stages stay alive and the next worker adopts them.
    """

    backend: LocalBackend
    slots: Mapping[str, int]
    command: Callable[[int], tuple[str, ...]]
    tick: Callable[[], int]  # advances the open runs and returns how many there are
    _children: dict[int, subprocess.Popen[bytes]] = field(
        default_factory=dict[int, subprocess.Popen[bytes]]
    )

    def serve(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Work until idle, or until `should_stop` says so."""
        last_work = last_tick = time.monotonic()
        self.tick()
        while not should_stop():
            self._reap()
            self._start_what_fits()
            now = time.monotonic()
            open_runs = 0
            if now - last_tick >= TICK_SECONDS:
                open_runs = self.tick()
                last_tick = now
            if open_runs or not self.backend.is_idle():
                last_work = now
            if now - last_work >= IDLE_SECONDS:
                return
            time.sleep(POLL_SECONDS)

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
            # Inherited by the process, so it stays locked exactly as long as the process lives.
            fcntl.flock(lock, fcntl.LOCK_EX)
            child = subprocess.Popen(
                self.command(queued.number),
                stdin=subprocess.DEVNULL,
                pass_fds=(lock.fileno(),),
                start_new_session=True,
                env=os.environ,
            )
            self.backend.mark_running(queued.number, child.pid)
        self._children[queued.number] = child
        logger.info("run %s: %s started", queued.call.run, queued.call.key)
