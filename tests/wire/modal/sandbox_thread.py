"""The sandbox as a server in its own thread, for tests without an event loop."""

import asyncio
import threading
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from bot.sandbox.server import SandboxServer

T = TypeVar("T")


class SandboxThread:
    """A running sandbox; its state may be touched in its own thread only."""

    def __init__(self, home: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox")
        self._thread.start()
        self.server = self.wait(self._start(home))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the sandbox's thread and return what comes of it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def stop(self) -> None:
        """End it."""
        self.wait(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self, home: Path) -> SandboxServer:
        server = SandboxServer(home)
        await server.start()
        return server

    async def _stop(self) -> None:
        await self.server.stop()
        for _ in range(4):
            await asyncio.sleep(0)  # the transports close in the loop's next rounds


@contextmanager
def sandbox_thread(home: Path) -> Generator[SandboxThread]:
    """Give the body a sandbox, and see at the end that it answered as Discord does."""
    running = SandboxThread(home)
    try:
        yield running
        assert running.server.rest.mistakes == []
    finally:
        running.stop()
