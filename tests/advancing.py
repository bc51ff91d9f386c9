"""An event loop whose clock a test can advance; sockets and threads stay real."""

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Any

# Loopback delivers at once; this is for what the kernel still does in between.
_GRACE_SECONDS = 0.002


class AdvancingLoop(asyncio.SelectorEventLoop):
    """Runs at the real pace, and faster while it is advanced.

    While it is advanced, its clock jumps to the next timer whenever nothing else is left to do: no
    callback, no socket to read or write, no call in a thread.
    """

    def __init__(self) -> None:
        self._ahead = self._left = 0.0
        self._in_threads = 0
        self._waiter: asyncio.Future[None] | None = None
        super().__init__(_Selector(self._jump))

    def time(self) -> float:
        return time.monotonic() + self._ahead

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._note_done)
        return future

    async def advance(self, seconds: float) -> None:
        """Let this much time pass, and everything happen that is due in it."""
        if self._waiter is not None:
            raise ValueError("the clock is being advanced already")
        self._left, self._waiter = seconds, self.create_future()
        try:
            await self._waiter
        finally:
            self._left, self._waiter = 0.0, None

    def _note_done(self, _future: object) -> None:
        self._in_threads -= 1

    def _jump(self, timeout: float | None) -> bool:
        """Jump to the next timer, in `timeout` seconds, and return whether that was possible."""
        if self._waiter is None or self._waiter.done() or self._in_threads:
            return False
        jump = self._left if timeout is None else min(timeout, self._left)
        self._ahead += jump
        self._left -= jump
        if self._left <= 0:
            self._waiter.set_result(None)
        return True


class _Selector(selectors.DefaultSelector):
    def __init__(self, jump: Callable[[float | None], bool]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        found = super().select(_GRACE_SECONDS if timeout is None else min(timeout, _GRACE_SECONDS))
        if found or self._jump(timeout):
            return found
        return super().select(timeout)
