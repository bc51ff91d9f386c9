"""Points discord.py at a sandbox instead of Discord."""

from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route


@contextmanager
def point_discord_at(base_url: str) -> Generator[None]:
    """Redirect discord.py to `base_url` ("http://127.0.0.1:PORT") inside the block.

    discord.py keeps Discord's URLs in global variables. Send every request inside the block,
    including the ones that close the client.
    """
    parts = urlsplit(base_url)
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    Route.BASE = f"{parts.scheme}://{parts.netloc}/api/v10"
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"ws://{parts.netloc}/gateway")
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before
