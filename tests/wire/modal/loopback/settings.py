"""How the loopback behaves, and its clock."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


def never(_method: str) -> int | None:
    """Refuse no transfer."""
    return None


@dataclass(kw_only=True)
class Settings:
    """How the control plane behaves; a test may change it while it runs.

    Attributes:
        gpus: How many GPUs the workspace has.
        unavailable_gpus: GPU types that have no capacity at the moment, as "H100".
        upgraded_gpus: GPU types that are given instead of others, as {"H100": "H200"}, unless the
            request ends in "!".
        cold_start_seconds: What a container takes before its first line of Python.
        first_pull_seconds: What the first container of each image takes beyond that.
        idle_seconds: The most that an idle container waits for its next input, whatever its
            function's scale-down window is (Modal's default is 60).
        preemption_grace_seconds: From the signal to the kill of a preempted container.
        server_grace_seconds: From SIGTERM to the kill of a server's container.
        background_commit_seconds: How often volumes are committed in the background, None never.
        cron_minute_seconds: How long a minute of the schedules lasts, None: they never run alone.
        health_seconds: How often a server's port is looked at.
        rpc_delay_seconds: How long every RPC waits before it is answered, as over a network.
        rates: Dollars an hour under the names that `modal billing rates` gives them, None:
            the token has no access to billing.
        is_spend_limit_reached: Whether nothing is started, as the workspace has spent its limit.
        are_dicts_busy: Whether every request to a Dict is asked to wait.
        failing_builds: What a step of an image's build prints before it fails, by a part of its
            command.
        refuse_transfer: Returns the HTTP status with which a transfer beside the RPCs is
            refused, by its method, or None to serve it.
        container_env: Variables that every container gets.
        changed: Called after each change, from whichever thread made it.
    """

    gpus: int = 4
    unavailable_gpus: set[str] = field(default_factory=set[str])
    upgraded_gpus: Mapping[str, str] = field(default_factory=dict[str, str])
    cold_start_seconds: float = 0.0
    first_pull_seconds: float = 0.0
    idle_seconds: float = 2.0
    preemption_grace_seconds: float = 30.0
    server_grace_seconds: float = 30.0
    background_commit_seconds: float | None = None
    cron_minute_seconds: float | None = None
    health_seconds: float = 1.0
    rpc_delay_seconds: float = 0.0
    rates: Mapping[str, str] | None = None
    is_spend_limit_reached: bool = False
    are_dicts_busy: bool = False
    failing_builds: Mapping[str, str] = field(default_factory=dict[str, str])
    refuse_transfer: Callable[[str], int | None] = field(default=never, repr=False)
    container_env: Mapping[str, str] = field(default_factory=dict[str, str])
    changed: Callable[[], object] | None = field(default=None, repr=False)

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if self.changed is not None:
            self.changed()


class Clock:
    """The time by which results and entries of dicts expire; tests move it."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        self._ahead += seconds
