"""Holding a lease while something is done that only one may do at a time."""

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
_POLL_SECONDS = 0.2


def wait_a_moment() -> None:
    """Let some time pass before a lease is asked for again."""
    sleep(_POLL_SECONDS)


def nothing_to_do() -> None:
    """Go on although a lease was lost: what is done under it is safe to be done twice."""


@contextmanager
def held(
    leases: Leases,
    name: str,
    *,
    holder: str | None = None,
    wait: Callable[[], None] = wait_a_moment,
    on_lost: Callable[[], None] = nothing_to_do,
) -> Generator[None]:
    """Hold a lease while the body runs; wait while another holds it.

    Args:
        leases: Where it is.
        name: Its name.
        holder: Who asks; without one, somebody whom nobody else is.
        wait: Called between two tries; what it raises ends the waiting.
        on_lost: Called when the lease was lost in the middle.
    """
    asking = holder or uuid.uuid4().hex
    while (grant := leases.acquire(name, holder=asking)) is None:
        wait()
    try:
        with heartbeat(leases, grant, on_lost):
            yield
    finally:
        # Afterwards: a renewal that came later would take the release for a loss.
        leases.release(grant)


@contextmanager
def heartbeat(leases: Leases, grant: Grant, on_lost: Callable[[], None]) -> Generator[None]:
    """Renew a lease while the body runs; say once that it was lost."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            try:
                is_held = leases.renew(grant)
            except OSError:
                # Whoever takes the lease meanwhile is met by the next renewal that gets through.
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


# How long a lease that was taken or renewed is ours without another look, of 20 s.
SURE_SECONDS = 5.0


class OvertakenError(Exception):
    """The run's lease went to another, who now writes what happens to the run."""


@dataclass(slots=True)
class Turn:
    """The run's lease, held since a moment ago."""

    leases: Leases
    grant: Grant
    renewed_at: float

    def require(self) -> None:
        """Raise when another may have begun to advance the run.

        Raises:
            OvertakenError: The lease is lost.
        """
        now = time.monotonic()
        if now - self.renewed_at < SURE_SECONDS:
            return
        if not self.leases.renew(self.grant):
            raise OvertakenError
        self.renewed_at = now


def take_turn(leases: Leases, name: str, patience_seconds: float) -> Turn | None:
    """Return the turn at a run; None when another kept it for all this time."""
    gives_up_at, holder = time.monotonic() + patience_seconds, uuid.uuid4().hex
    while True:
        asked_at = time.monotonic()
        if (grant := leases.acquire(name, holder=holder)) is not None:
            return Turn(leases, grant, asked_at)
        if asked_at >= gives_up_at:
            return None
        wait_a_moment()
