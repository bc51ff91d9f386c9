"""Posts the result of an upload or import in the channel where it was started."""

import logging

import aiohttp
import discord

from bot.discord.answers.answers import to_embed
from bot.discord.buttons.datasets import dataset_buttons, discord_files
from bot.service.dataset_answers import DatasetAnswer
from training.registry.uploads.session import UploadSession

logger = logging.getLogger(__name__)


class UploadTeller:
    """Posts the results of uploads. Each message names the uploader, without a ping."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    async def tell(self, session: UploadSession, answer: DatasetAnswer) -> None:
        """Post a result. If that fails, log the error and drop the result."""
        channel_id = int(session.channel or 0)
        try:
            channel = self._client.get_channel(channel_id)
            channel = channel or await self._client.fetch_channel(channel_id)
            if not isinstance(channel, discord.abc.Messageable):
                raise discord.InvalidData(f"channel {channel_id} does not accept messages")
            await channel.send(
                f"{'Imported' if session.source else 'Uploaded'} by <@{session.by}>",
                embed=to_embed(answer.card),
                files=discord_files(answer.files),
                view=dataset_buttons(session.guild, answer),
                silent=True,
            )
        except (discord.DiscordException, aiohttp.ClientError, OSError):
            # Only log this: no files are lost, and the upload page shows the result too.
            logger.warning("the result of an upload could not be posted", exc_info=True)
