"""Posts notices about the installation, such as the result of a clean-up, in a guild's channel."""

import asyncio
import logging

import aiohttp
import discord

from bot.discord.answers.answers import to_embed
from bot.discord.cards.pauses import Pauses
from bot.discord.cards.refusals import is_channel_gone
from bot.messages.installation import clean_up_card
from bot.service.threads import in_thread
from training.operations.clean_up import CleanUpNotice, notices
from training.ports import Store

_PAUSE_SECONDS = 60.0
logger = logging.getLogger(__name__)


class NoticeTeller:
    """Posts each notice once. The store holds the notices that have not been posted yet."""

    def __init__(self, client: discord.Client, store: Store) -> None:
        self._client, self._store = client, store
        self._pauses = Pauses()

    async def keep(self) -> None:
        while True:
            try:
                await self.tell()
            except OSError as error:
                self._pauses.begin("list", "the notices cannot be read", error)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def tell(self) -> None:
        """Post all waiting notices. A notice is dropped if its channel is gone or refuses it."""
        for key, notice in await in_thread(lambda: list(notices(self._store))):
            if self._pauses.left(key):
                continue
            try:
                await self._post(notice)
            except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
                self._pauses.begin(key, f"a notice in channel {notice.channel}", error)
            else:
                await in_thread(self._store.delete, key)

    async def _post(self, notice: CleanUpNotice) -> None:
        channel = self._client.get_partial_messageable(int(notice.channel))
        try:
            await channel.send(embed=to_embed(clean_up_card(notice)), silent=True)
        except discord.HTTPException as error:
            if not is_channel_gone(error) and not isinstance(error, discord.Forbidden):
                raise
            logger.warning("a notice could not be posted in %s: %s", notice.channel, error)
