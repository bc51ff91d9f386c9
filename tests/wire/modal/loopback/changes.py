"""Waiting for a condition of the control plane instead of sleeping."""

import asyncio
from collections.abc import Callable

_LOOK_SECONDS = 0.5  # some changes, such as uses of Dict entries, are not announced


class Changes:
    """Wakes whoever waits for a condition after each change of state."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Say that something changed."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def wait_for(self, is_true: Callable[[], object], seconds: float) -> bool:
        """Wait until `is_true()` or `seconds` are over; return whether it is."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not is_true():
            left = end - loop.time()
            if left <= 0:
                return False
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.add(future)
            await asyncio.wait({future}, timeout=min(left, _LOOK_SECONDS))
            self._waiting.discard(future)
        return True
