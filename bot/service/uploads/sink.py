"""Writes data from the network to a file while more data arrives."""

import asyncio
from types import TracebackType
from typing import Self

from bot.service.threads import in_thread
from training.registry.uploads.files import PartWriter

BLOCK_BYTES = 256 * 1024  # minimum size of a write; up to twice as much is held in memory


class FileSink:
    """Appends to a file, in a thread. Only one write runs at a time."""

    def __init__(self, writer: PartWriter) -> None:
        self._writer = writer
        self._blocks: list[bytes] = []
        self._size_bytes = 0
        self._writing: asyncio.Task[None] | None = None

    @property
    def offset(self) -> int:
        """Return how many bytes are in the file, not counting those still in memory."""
        return self._writer.offset

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is in memory even if the sender is gone, so that it need not be resent."""
        try:
            await asyncio.shield(self._flush())
        finally:
            self._writer.close()

    async def write(self, block: bytes) -> None:
        """Accept a block, which is written later, together with others.

        Raises:
            OSError: An earlier block could not be written.
        """
        self._blocks.append(block)
        self._size_bytes += len(block)
        if self._size_bytes >= BLOCK_BYTES:
            await self._begin()

    async def _begin(self) -> None:
        await self._end()
        blocks, self._blocks, self._size_bytes = self._blocks, [], 0
        write = in_thread(self._writer.write, blocks)
        self._writing = asyncio.create_task(write, name="write an upload")

    async def _end(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing

    async def _flush(self) -> None:
        await self._end()
        if self._blocks:
            await self._begin()
            await self._end()
