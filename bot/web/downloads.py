"""Sends the content behind download links, and resumes interrupted downloads."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import BinaryIO

from aiohttp import hdrs, web

from bot.service.downloads.checks import Checks
from bot.service.downloads.content import Content, FileRange, Piece
from bot.service.downloads.downloads import Downloads
from bot.service.threads import in_thread
from bot.web.ranges import Asked, asked
from training.errors import TrainingError
from training.ports import FileChangedError, FileReader

logger = logging.getLogger(__name__)

_SLICE_BYTES = 4 << 20
# A slice that is read into memory stays there until its receiver has it, and at worst exists twice.
# If all 256 requests that the server handles at once have slow receivers, that takes 256 MiB.
_READ_BYTES = 512 << 10
# A receiver that takes longer than this for a slice is slower than 14 KB/s; give up on it.
_SLICE_SECONDS = 300.0


class DownloadRoutes:
    """The handlers of download links."""

    def __init__(self, downloads: Downloads) -> None:
        self._downloads = downloads
        self._checks = Checks()

    def install(self, app: web.Application) -> None:
        app.router.add_get("/d/{token}/{name}", self.file)
        app.router.add_get("/z/{token}/{name}", self.archive)
        app.on_cleanup.append(self._stop)

    async def file(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, self._downloads.file)

    async def archive(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, self._downloads.archive)

    async def _answer(
        self, request: web.Request, find: Callable[[str, str], Content]
    ) -> web.StreamResponse:
        found = await in_thread(find, request.match_info["token"], request.match_info["name"])
        part = asked(request.headers, found.etag, found.size_bytes)
        response = web.StreamResponse(status=part.status, headers=_headers(found, part))
        response.content_length = part.stop - part.start
        if part.status == HTTPStatus.NOT_MODIFIED:
            response.content_length = None
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            sender = _Sender(request, response, self._checks)
            try:
                await sender.send(found.part(part.start, part.stop))
            except (TrainingError, OSError) as error:
                _cut(request, error)
                return response
        await response.write_eof()
        return response

    async def _stop(self, _app: web.Application) -> None:
        await self._checks.stop()


def _cut(request: web.Request, error: Exception) -> None:
    """Cut the connection: once headers are sent, a failure cannot be reported in another way."""
    transport = request.transport
    if transport is None:
        return
    has_left = isinstance(error, ConnectionResetError | BrokenPipeError)
    if not has_left and not transport.is_closing():
        logger.warning("a download was cut off: %s", error)
    if isinstance(error, TimeoutError):
        transport.abort()
    else:
        # Browsers resume by themselves if a connection is closed normally, but not if it is reset.
        transport.close()


def _headers(found: Content, part: Asked) -> dict[str, str]:
    headers: dict[str, str] = {hdrs.ETAG: found.etag, hdrs.ACCEPT_RANGES: "bytes"}
    match part.status:
        case HTTPStatus.NOT_MODIFIED:
            return headers
        case HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return {**headers, hdrs.CONTENT_RANGE: f"bytes */{found.size_bytes}"}
        case HTTPStatus.PARTIAL_CONTENT:
            shown = f"bytes {part.start}-{part.stop - 1}/{found.size_bytes}"
            headers[hdrs.CONTENT_RANGE] = shown
        case _:
            pass
    # The name needs no quoting: a verified link has only letters, digits, dots, dashes and
    # underscores.
    name = PurePosixPath(found.name).name
    headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{name}"'
    headers[hdrs.CONTENT_TYPE] = found.media_type
    return headers


class _Sender:
    """Sends parts of files, and meanwhile compares each whole file with its checksum.

    A part that begins at the start of a file is sent at once, except for its last slice, which
    waits for the check. A part that begins inside a file waits for the check before its first
    slice, because the receiver appends it to the bytes that it already has.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse, checks: Checks) -> None:
        self._request, self._response, self._checks = request, response, checks

    async def send(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, bytes):
                await self._write(piece)
            else:
                await self._file(piece)

    async def _file(self, piece: FileRange) -> None:
        reader = await in_thread(piece.open)
        check = self._checks.begin(reader, partial(piece.check, reader))
        if piece.start:
            await asyncio.shield(check)
        file = await in_thread(reader.open)
        if file is None:
            slices = _slices(piece, _READ_BYTES)
            send = partial(self._read, reader, piece.key)
        else:
            slices = _slices(piece, _SLICE_BYTES)
            send = partial(self._copy, file, piece.key)
        with file or nullcontext():
            for start, count in slices:
                if start + count == piece.stop:
                    await asyncio.shield(check)
                await send(start, count)

    async def _read(self, reader: FileReader, key: str, start: int, count: int) -> None:
        """Read a slice and write it to the connection."""
        data = await in_thread(reader.read, start, count)
        if len(data) != count:
            raise FileChangedError(f"{key} became shorter while it was being sent")
        await self._write(data)

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(_SLICE_SECONDS):
            await self._response.write(data)

    async def _copy(self, file: BinaryIO, key: str, start: int, count: int) -> None:
        """Let the operating system copy a slice of an open file to the connection."""
        loop, transport = asyncio.get_running_loop(), self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the receiver has disconnected")
        # Read the following slice from disk while this one is sent, so that the event loop never
        # waits for the disk.
        os.posix_fadvise(file.fileno(), start, 2 * _SLICE_BYTES, os.POSIX_FADV_WILLNEED)
        async with asyncio.timeout(_SLICE_SECONDS):
            if await loop.sendfile(transport, file, start, count) != count:
                raise FileChangedError(f"{key} became shorter while it was being sent")


def _slices(piece: FileRange, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the length of each slice of a range."""
    for start in range(piece.start, piece.stop, most_bytes):
        yield start, min(most_bytes, piece.stop - start)
