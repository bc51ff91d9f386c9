"""Holding leases: for work that only one process may do at a time."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from time import sleep

from training.ports import Grant, Leases

logger = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 4.0
# A lease lives for 20 s; this long after it was renewed it is ours without asking again.
SURE_SECONDS = 5.0
_POLL_SECONDS = 0.2


def wait_a_moment() -> None:
    """Sleep before trying to acquire a lease again."""
    sleep(_POLL_SECONDS)


def ignore_loss() -> None:
    """Continue although the lease was lost; for work that is safe to do twice."""


@contextmanager
def hold_lease(
    leases: Leases,
    name: str,
    *,
    holder: str | None = None,
    wait: Callable[[], None] = wait_a_moment,
    on_lost: Callable[[], None] = ignore_loss,
) -> Generator[None]:
    """Hold a lease while the body runs; wait while another holder has it.

    Args:
        leases: The leases.
        name: Name of the lease.
        holder: Unique name of the holder; made up if not given.
        wait: Called between two tries; an exception ends the waiting.
        on_lost: Called if the lease is lost while the body runs.
    """
    asking = holder or uuid.uuid4().hex
    while (grant := leases.acquire(name, holder=asking)) is None:
        wait()
    try:
        with heartbeat(leases, grant, on_lost):
            yield
    finally:
        # After the heartbeat: a later renewal would take the release for a loss.
        leases.release(grant)


@contextmanager
def heartbeat(leases: Leases, grant: Grant, on_lost: Callable[[], None]) -> Generator[None]:
    """Renew a lease while the body runs; call `on_lost` once if it is lost."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            try:
                is_held = leases.renew(grant)
            except OSError:
                # If another takes the lease meanwhile, the next successful renewal finds out.
                logger.warning("the lease %s could not be renewed", grant.name, exc_info=True)
                continue
            if not is_held:
                on_lost()
                return

    thread = threading.Thread(target=beat, name=f"heartbeat {grant.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class OvertakenError(Exception):
    """Another process holds the run's lease now and writes its events."""


@dataclass(slots=True)
class RunLease:
    """The lease on advancing a run."""

    leases: Leases
    grant: Grant
    renewed_at: float

    def require(self) -> None:
        """Raise if another process may have begun to advance the run.

        Raises:
            OvertakenError: The lease is lost.
        """
        now = time.monotonic()
        if now - self.renewed_at < SURE_SECONDS:
            return
        if not self.leases.renew(self.grant):
            raise OvertakenError
        self.renewed_at = now


def acquire_run_lease(leases: Leases, name: str, patience_seconds: float) -> RunLease | None:
    """Return the lease on advancing a run; None if another kept it for `patience_seconds`."""
    gives_up_at, holder = time.monotonic() + patience_seconds, uuid.uuid4().hex
    while True:
        asked_at = time.monotonic()
        if (grant := leases.acquire(name, holder=holder)) is not None:
            return RunLease(leases, grant, asked_at)
        if asked_at >= gives_up_at:
            return None
        wait_a_moment()
