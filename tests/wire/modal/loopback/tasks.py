"""Tasks beside the RPCs: each has an owner, and none fails unnoticed."""

import asyncio
import traceback
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """Starts tasks and notes what they raise.

    Attributes:
        errors: Tracebacks: bugs of the loopback.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self.errors: list[str] = []

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._end)
        return task

    async def cancel(self, *tasks: asyncio.Task[None]) -> None:
        """Cancel tasks and wait until they are over."""
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append("".join(traceback.format_exception(error)))
