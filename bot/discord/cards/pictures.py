"""Sends messages with a picture, or without it where the bot may not attach files."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import discord

from bot.discord.cards.refusals import is_archived
from bot.messages.picture import Picture

T = TypeVar("T")
logger = logging.getLogger(__name__)


async def with_picture(
    run: str, picture: Picture | None, send: Callable[[Picture | None], Awaitable[T]]
) -> T:
    """Call `send` with the picture; if Discord forbids that, call it again without."""
    try:
        return await send(picture)
    except discord.Forbidden as error:
        if picture is None or is_archived(error):
            raise
        sent = await send(None)
        logger.warning("run %s: the bot cannot attach %s: %s", run, picture.name, error)
        return sent
