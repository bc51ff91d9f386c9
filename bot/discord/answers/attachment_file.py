"""Downloads attachments block by block, and retries when Discord's file server fails."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import discord

from bot.service.threads import in_thread
from training.errors import RequestError
from training.files.sizes import MIB, size

_BLOCK_BYTES = MIB
_SILENCE_SECONDS = 60
_PAUSES_SECONDS = (1.0, 3.0)  # before the second and the third try


async def save_attachment(attachment: discord.Attachment, target: Path) -> None:
    """Download an attachment to `target`.

    Unlike discord.py's `Attachment.save`, this neither holds the whole file in memory nor blocks
    the event loop while writing it.

    Raises:
        RequestError: The file cannot be downloaded or written.
    """

    async def save() -> None:
        with target.open("wb", buffering=0) as file:
            async for block in _blocks(attachment):
                await in_thread(file.write, block)

    try:
        await _persist(attachment, save)
    except OSError as error:
        raise RequestError(
            f"The bot cannot store {attachment.filename}: {error.strerror or error}.",
            "Ask the bot's operator to free some disk space, then upload the file again.",
        ) from error


async def read_attachment(attachment: discord.Attachment) -> bytes:
    """Return the content of a small attachment.

    Raises:
        RequestError: The download fails.
    """
    blocks: list[bytes] = []

    async def read() -> None:
        blocks.clear()
        async for block in _blocks(attachment):
            blocks.append(block)

    await _persist(attachment, read)
    return b"".join(blocks)


async def _persist(
    attachment: discord.Attachment, download: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Call `download` up to three times; give up at once if Discord no longer has the file."""
    for pause_seconds in (*_PAUSES_SECONDS, None):
        try:
            return await download()
        except aiohttp.ClientResponseError as error:
            if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise RequestError(
                    f"Discord no longer has {attachment.filename}.", "Upload it again."
                ) from error
            failure: Exception = error
        except (aiohttp.ClientError, TimeoutError) as error:
            failure = error
        if pause_seconds is None:
            raise RequestError(
                f"Discord did not deliver {attachment.filename} in three tries.",
                "Upload it again in a few minutes. Nothing was stored.",
            ) from failure
        await asyncio.sleep(pause_seconds)
    return None


async def _blocks(attachment: discord.Attachment) -> AsyncGenerator[bytes]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=_SILENCE_SECONDS)
    here_bytes = 0
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(attachment.url, raise_for_status=True) as response,
    ):
        async for block in response.content.iter_chunked(_BLOCK_BYTES):
            here_bytes += len(block)
            yield block
    if here_bytes != attachment.size:
        raise aiohttp.ClientPayloadError(f"{size(here_bytes)} arrived, not {size(attachment.size)}")
