"""Pauses before the bot connects to Discord's gateway again.

discord.py's own pauses double with each lost connection of the last 34 minutes, even if the bot was
connected for long in between. On a bad network they soon reach minutes, in which no command works.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Literal, cast

import discord
from discord.backoff import ExponentialBackoff

# With longer pauses, the bot would miss commands long after an outage. With shorter ones, it could
# exceed the 1000 new sessions that Discord allows per day.
_LONGEST_SECONDS = 120.0
_LASTING_SECONDS = 10.0


class GatewayPauses(ExponentialBackoff[Literal[False]]):
    """Pauses that double, up to a limit, until a connection lasts for a while."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        super().__init__()
        self._clock = clock or asyncio.get_running_loop().time
        self._seconds = 1.0
        self._ended_at = float("-inf")

    def delay(self) -> float:
        """Return how many seconds to wait before connecting again."""
        now = self._clock()
        has_lasted = now - self._ended_at > _LASTING_SECONDS
        self._seconds = 1.0 if has_lasted else min(2 * self._seconds, _LONGEST_SECONDS)
        pause = self._seconds * random.uniform(0.5, 1.0)
        self._ended_at = now + pause
        return pause


def pause_briefly() -> None:
    """Let discord.py, which has no setting for this, use `GatewayPauses`."""
    cast("Any", discord.client).ExponentialBackoff = GatewayPauses
