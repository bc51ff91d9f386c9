"""Posts notices of the installation, such as a clean-up, in their guild's channel."""

import asyncio
import logging

import aiohttp
import discord

from bot.discord.answers.embed import to_embed
from bot.messages.notice_text import clean_up_card
from bot.service.threads import in_thread
from training.operations.notices import notices
from training.ports import Store

_PAUSE_SECONDS = 60.0
logger = logging.getLogger(__name__)


class NoticeTeller:
    """Posts each notice once; the store holds those that are not posted yet."""

    def __init__(self, client: discord.Client, store: Store) -> None:
        self._client, self._store = client, store

    async def keep(self) -> None:
        """Post notices until cancelled."""
        while True:
            try:
                await self.tell()
            except (discord.HTTPException, aiohttp.ClientError, OSError):
                # The next round tries again.
                logger.warning("a notice could not be posted", exc_info=True)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def tell(self) -> None:
        """Post all waiting notices; drop those whose channel is gone."""
        for key, notice in await in_thread(lambda: list(notices(self._store))):
            channel = self._client.get_channel(int(notice.channel))
            if isinstance(channel, discord.TextChannel | discord.Thread):
                try:
                    await channel.send(embed=to_embed(clean_up_card(notice)), silent=True)
                except discord.Forbidden:
                    logger.warning("a notice could not be posted in %s", notice.channel)
            else:
                logger.warning("the channel %s of a notice is gone", notice.channel)
            await in_thread(self._store.delete, key)
