"""Holds leases; a lease lets only one process at a time do some work."""

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
# A lease expires 20 s after its last renewal, so the holder need not check it during the first 5 s.
SURE_SECONDS = 5.0
_POLL_SECONDS = 0.2


def wait_a_moment() -> None:
    """Sleep before trying to acquire a lease again."""
    sleep(_POLL_SECONDS)


def ignore_loss() -> None:
    """Do nothing. Pass this as `on_lost` for work that two processes may safely do at once."""


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

    `wait` is called before each new try, and may raise an exception to give up. `on_lost` is called
    if the lease is lost while the body runs.
    """
    asking = holder or uuid.uuid4().hex
    while (grant := leases.acquire(name, holder=asking)) is None:
        wait()
    try:
        with heartbeat(leases, grant, on_lost):
            yield
    finally:
        # Release only after the heartbeat has ended, or it would mistake the release for a loss.
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
                # If another process takes the lease meanwhile, the next renewal returns False.
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
    """The lease that a process holds while it advances a run."""

    leases: Leases
    grant: Grant
    renewed_at: float
    is_lost: bool = False

    @contextmanager
    def kept(self) -> Generator[None]:
        """Renew the lease while the body runs, because a single write may take minutes.

        If the lease expired meanwhile, another process could write to the same event file.
        """
        with heartbeat(self.leases, self.grant, self._lose):
            yield

    def _lose(self) -> None:
        self.is_lost = True

    def require(self) -> None:
        """Raise `OvertakenError` if another process may have begun to advance the run."""
        if self.is_lost:
            raise OvertakenError
        now = time.monotonic()
        if now - self.renewed_at < SURE_SECONDS:
            return
        if not self.leases.renew(self.grant):
            raise OvertakenError
        self.renewed_at = now


def acquire_run_lease(leases: Leases, name: str, patience_seconds: float) -> RunLease | None:
    """Return the lease for advancing a run; None if it is still taken after `patience_seconds`."""
    gives_up_at, holder = time.monotonic() + patience_seconds, uuid.uuid4().hex
    while True:
        asked_at = time.monotonic()
        if (grant := leases.acquire(name, holder=holder)) is not None:
            return RunLease(leases, grant, asked_at)
        if asked_at >= gives_up_at:
            return None
        wait_a_moment()
