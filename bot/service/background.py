"""Runs tasks in the background, one at a time for each key."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class BackgroundTasks:
    """The running tasks, by key. Nobody awaits their results, so failures are logged."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, key: str, work: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> None:
        """Start `work` in a task called `name`, unless a task with this key is running."""
        if key in self._running:
            return
        task = asyncio.create_task(work(), name=name)
        self._running[key] = task
        task.add_done_callback(lambda _task: self._running.pop(key, None))
        task.add_done_callback(log_failure)

    async def wait(self, key: str) -> None:
        """Wait until no task with this key is running."""
        if (task := self._running.get(key)) is not None:
            await asyncio.wait({task})

    async def finish(self) -> None:
        """Wait until the tasks that are running now have ended."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def cancel(self, *keys: str) -> None:
        """Cancel the tasks with these keys, or all if none is given, and wait until they end."""
        running = [task for key, task in self._running.items() if not keys or key in keys]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def log_failure(task: asyncio.Task[None]) -> None:
    """Log the exception that a task ended with, if any."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s failed", task.get_name(), exc_info=error)
