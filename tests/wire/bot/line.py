"""The line between a browser and the bot, which a test cuts at chosen places."""

import asyncio
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

_BLOCK_BYTES = 256 * 1024


class Line:
    """Forwards connections; cuts them whenever so many bytes of requests have passed in all.

    Attributes:
        cuts: The totals at which to cut, in rising order.
        sent_bytes: The bytes of requests that have passed.
        is_down: Set after the last cut; then nothing passes until `mend`.
    """

    def __init__(self, target: str, cuts: list[int]) -> None:
        self._target = urlsplit(target)
        self.cuts = cuts
        self.sent_bytes = 0
        self.is_down = asyncio.Event()
        self._open = set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]]()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        self._server.close()
        self._cut()

    def through(self, url: str) -> str:
        """Return an address of the bot as it is on this side of the line."""
        return url.replace(f"{self._target.scheme}://{self._target.netloc}", self.url, 1)

    def mend(self) -> None:
        self.is_down.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            if not self.is_down.is_set():
                there = await asyncio.open_connection(self._target.hostname, self._target.port)
                self._open.add((writer, there[1]))
                back = asyncio.create_task(self._copy(there[0], writer, is_request=False))
                await self._copy(reader, there[1], is_request=True)
                await back
        writer.close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_request: bool
    ) -> None:
        with suppress(OSError):
            while block := await reader.read(_BLOCK_BYTES):
                writer.write(block)
                await writer.drain()
                if is_request:
                    self._count(len(block))
        writer.close()

    def _count(self, sent_bytes: int) -> None:
        self.sent_bytes += sent_bytes
        if self.cuts and self.sent_bytes >= self.cuts[0]:
            del self.cuts[0]
            if not self.cuts:
                self.is_down.set()
            self._cut()

    def _cut(self) -> None:
        for browser, bot in self._open:
            browser.transport.abort()
            bot.close()  # what has passed the line still arrives
        self._open.clear()
