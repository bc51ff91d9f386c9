"""Lists runs for chat, in threads of its own, so that lists do not wait for other work."""

import logging
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from bot.installation import Installation
from bot.service.background import BackgroundTasks
from bot.service.threads import in_pool
from training.errors import TrainingError
from training.operations.run_list import RunPage
from training.ports import EVERY_RUN, RunFilter

PAGE = 10  # runs in one message: few enough for a phone, and for Discord's limits
# Discord requests completions at every keystroke, so the list of names is reused for this long.
_NAMES_SECONDS = 2.0
logger = logging.getLogger(__name__)


class RunLists:
    """Lists runs: those that have ended from an index, the others from their current state.

    Lists are made in threads of their own, so that they and other work never wait for each
    other. One more thread fills gaps in the index in the background.
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="run lists")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ended runs")
        self._reading = BackgroundTasks()
        self._is_stopped = threading.Event()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Fill gaps in the index in the background until the `async with` block ends."""
        for guild in await in_pool(self._threads, self._installation.guilds):
            self._read_later(guild)
        try:
            yield
        finally:
            self._is_stopped.set()
            await self._reading.cancel()
            for pool in (self._threads, self._reader):
                pool.shutdown(wait=False, cancel_futures=True)

    async def newest(
        self, guild: str, most: int = PAGE, *, only: RunFilter = EVERY_RUN, skip: int = 0
    ) -> RunPage:
        """Return the newest runs of a guild, or those after the `skip` newest ones.

        The state of a run that has not ended may be a few moments old.
        """
        find = self._installation.runs.page
        page = await in_pool(self._threads, find, guild, most, only=only, skip=skip)
        if page.unread:
            self._read_later(guild)
        return page

    async def states(self, guild: str, typed: str, most: int) -> dict[str, str]:
        """Return the states of the newest runs whose names contain `typed`, by run name.

        A state that is not yet known is "".
        """
        glance = self._installation.runs.glance
        page = await in_pool(
            self._threads, glance, guild, most, containing=typed, age_seconds=_NAMES_SECONDS
        )
        return {run.name: run.state for run in page.runs}

    def _read_later(self, guild: str) -> None:
        if not self._is_stopped.is_set():
            self._reading.start(guild, lambda: self._read(guild), name=f"index runs of {guild}")

    async def _read(self, guild: str) -> None:
        read = self._installation.runs.read_ended
        try:
            await in_pool(self._reader, read, guild, self._is_stopped.is_set)
        except (OSError, TrainingError):
            # The next listing tries again.
            logger.warning("the index of a server's runs could not be completed", exc_info=True)
