"""Growing pauses after failures, with one log line for each series of failures."""

import asyncio
import logging
from collections.abc import Hashable
from dataclasses import dataclass

import aiohttp
import discord

from bot.discord.cards.refusals import is_passing
from training.errors import TrainingError

_FIRST_SECONDS = 5.0
_LONGEST_SECONDS = 600.0
_LONGEST_PASSING_SECONDS = 60.0
_EXPECTED = (discord.DiscordException, aiohttp.ClientError, OSError, TrainingError)
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Pause:
    seconds: float
    until: float


class Pauses:
    """Growing pauses between retries, for each key that failed, such as a channel or a run."""

    def __init__(self) -> None:
        self._all: dict[Hashable, _Pause] = {}

    def left(self, key: Hashable) -> float:
        """Return the remaining seconds of a pause; 0 if there is none."""
        pause = self._all.get(key)
        return 0.0 if pause is None else max(0.0, pause.until - _now())

    def begin(self, key: Hashable, what: str, error: Exception) -> None:
        """Pause `key` after a failure, for twice the previous pause, up to a limit."""
        longest = _LONGEST_PASSING_SECONDS if is_passing(error) else _LONGEST_SECONDS
        before = self._all.get(key)
        seconds = _FIRST_SECONDS if before is None else min(2 * before.seconds, longest)
        self._all[key] = _Pause(seconds, _now() + seconds)
        if before is None:
            # Log a traceback only for unexpected errors.
            unexpected = None if isinstance(error, _EXPECTED) else error
            logger.warning("%s: %s; trying again", what, error, exc_info=unexpected)

    def end(self, key: Hashable, what: str) -> None:
        """Forget the failures of `key` after a success; log the success if there were any."""
        if self._all.pop(key, None) is not None:
            logger.info("%s: works again", what)

    def cut_short(self, key: Hashable) -> None:
        """Allow the next attempt at once; if it fails, the pauses continue to grow."""
        if key in self._all:
            self._all[key].until = 0.0


def _now() -> float:
    return asyncio.get_running_loop().time()
