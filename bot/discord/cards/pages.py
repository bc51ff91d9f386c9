"""Posts what was done on a page in the channel where its link was made."""

import logging

import aiohttp
import discord

from bot.discord.answers.answers import to_embed
from bot.discord.buttons.datasets import dataset_buttons, discord_files
from bot.service.dataset_answers import DatasetAnswer
from training.registry.caption_sessions import CaptionSession
from training.registry.uploads.session import UploadSession

logger = logging.getLogger(__name__)


class PageTeller:
    """Posts new versions and results. Each message names the person, without a ping."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    async def tell_upload(self, session: UploadSession, answer: DatasetAnswer) -> None:
        """Post the result of an upload or import."""
        done = "Imported" if session.source else "Uploaded"
        await self._tell(session.guild, session.channel, f"{done} by <@{session.by}>", answer)

    async def tell_captions(self, session: CaptionSession, answer: DatasetAnswer) -> None:
        """Post an answer about a version that was made on a caption page."""
        said = f"Captions edited by <@{session.by}>"
        await self._tell(session.guild, session.channel, said, answer)

    async def _tell(
        self, guild: str, channel_id: str | None, said: str, answer: DatasetAnswer
    ) -> None:
        """Post an answer. If that fails, log the error and drop the answer."""
        try:
            channel = self._client.get_channel(int(channel_id or 0))
            channel = channel or await self._client.fetch_channel(int(channel_id or 0))
            if not isinstance(channel, discord.abc.Messageable):
                raise discord.InvalidData(f"channel {channel_id} does not accept messages")
            await channel.send(
                said,
                embed=to_embed(answer.card),
                files=discord_files(answer.files),
                view=dataset_buttons(guild, answer),
                silent=True,
            )
        except (discord.DiscordException, aiohttp.ClientError, OSError):
            # Only log this: nothing is lost, and the page shows the result too.
            logger.warning("a result could not be posted", exc_info=True)
