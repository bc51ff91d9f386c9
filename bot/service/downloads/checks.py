"""Computes checksums of stored files, and checks files while they are being downloaded."""

import asyncio
import logging
import zlib
from collections.abc import Callable
from threading import Lock

from cachetools import LRUCache

from bot.service.threads import in_thread
from training.errors import TrainingError
from training.ports import FileReader

_KNOWN = 1_000
_AT_ONCE = 2
_BLOCK_BYTES = 1 << 20
_known: LRUCache[str, int] = LRUCache(_KNOWN)
_lock = Lock()
logger = logging.getLogger(__name__)


def known_checksum(reader: FileReader) -> int | None:
    """Return the CRC-32 of a file's content if it was computed recently, else None."""
    with _lock:
        return _known.get(reader.state)


def checksum(reader: FileReader) -> int:
    """Return the CRC-32 of a file's content; a recent result for the unchanged file is reused."""
    if (known := known_checksum(reader)) is not None:
        return known
    crc32 = 0
    for start in range(0, reader.size_bytes, _BLOCK_BYTES):
        crc32 = zlib.crc32(reader.read(start, _BLOCK_BYTES), crc32)
    with _lock:
        _known[reader.state] = crc32
    return crc32


class Checks:
    """Runs checks in parallel with downloads. Downloads of the same file share one check."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self, reader: FileReader, check: Callable[[], None]) -> "asyncio.Task[None]":
        """Return the check of this file that is already running, or else start `check`.

        `check` raises an error if the file is damaged.
        """
        running = self._running.get(reader.state)
        if running is None:
            running = asyncio.create_task(self._run(check), name="check of a download")
            self._running[reader.state] = running
            running.add_done_callback(lambda _task: self._running.pop(reader.state, None))
            running.add_done_callback(_log_failure)
        return running

    async def stop(self) -> None:
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _run(self, check: Callable[[], None]) -> None:
        async with self._turns:
            await in_thread(check)


def _log_failure(task: "asyncio.Task[None]") -> None:
    if task.cancelled() or (error := task.exception()) is None:
        return
    expected = isinstance(error, OSError | TrainingError)
    logger.warning("a download: %s", error, exc_info=None if expected else error)
