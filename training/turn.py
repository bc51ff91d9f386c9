"""Whose turn it is to advance a run: a lease, so that one at a time writes what happens to it."""

import time
import uuid
from dataclasses import dataclass

from training.pipeline.leases import wait_a_moment
from training.ports import Grant, Leases

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
