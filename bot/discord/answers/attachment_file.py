"""Downloads an attachment to disk, block by block."""

from pathlib import Path

import aiohttp
import discord

from bot.service.threads import in_thread
from training.errors import RequestError

_BLOCK_BYTES = 1024 * 1024
_SILENCE_SECONDS = 60


async def save_attachment(attachment: discord.Attachment, target: Path) -> None:
    """Download an attachment to `target`.

    `Attachment.save` would hold the file in memory and block the event loop while writing it.

    Raises:
        RequestError: The download fails.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=_SILENCE_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(attachment.url, raise_for_status=True) as response,
        ):
            with target.open("wb", buffering=0) as file:
                async for block in response.content.iter_chunked(_BLOCK_BYTES):
                    await in_thread(file.write, block)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise RequestError(
            f"Downloading {attachment.filename} from Discord failed.", "Upload it again."
        ) from error
