"""Answering interactions: who asks, from where, and the one error handler."""

import logging
import uuid
from datetime import timedelta

import discord
from discord.utils import utcnow

from bot.discord.answers.embed import to_embed
from bot.messages.card import Card
from bot.messages.error_text import error_card, unexpected_text
from training.errors import RequestError, TrainingError
from training.operations.run_drafts import Requester

logger = logging.getLogger(__name__)

# Delivered twice and acknowledged by the first (40060), or older than 3 s when it came (10062).
_NOT_OURS_TO_ANSWER = (40060, 10062)

# An interaction's token lives 15 minutes; a message of the bot's own does not need it.
TOKEN_MINUTES = 14.0

Interaction = discord.Interaction[discord.Client]


def is_expired(interaction: Interaction) -> bool:
    """Return whether the interaction can no longer be answered as such."""
    return utcnow() - interaction.created_at > timedelta(minutes=TOKEN_MINUTES)


def channel_of(interaction: Interaction) -> discord.abc.Messageable:
    """Return where the interaction came from, for what comes too late to be its answer.

    Raises:
        RequestError: The bot cannot write there.
    """
    if not isinstance(interaction.channel, discord.abc.Messageable):
        raise RequestError(
            "The answer took too long and the channel is gone.", "Ask again in another channel."
        )
    return interaction.channel


def guild_of(interaction: Interaction) -> str:
    """Return the guild that everything of this interaction belongs to.

    Raises:
        RequestError: The command was used outside a server.
    """
    if interaction.guild_id is None:
        raise RequestError(
            "Datasets and runs belong to a server, and this is a private conversation.",
            "Use the command in a channel of your server.",
        )
    return str(interaction.guild_id)


def requester_of(interaction: Interaction) -> Requester:
    """Return who asks for something, and where."""
    return Requester(
        guild=guild_of(interaction),
        by=str(interaction.user.id),
        channel=str(interaction.channel_id),
        token=str(interaction.id),
    )


async def answer(
    interaction: Interaction,
    card: Card,
    *,
    ephemeral: bool = False,
    file: discord.File | None = None,
) -> None:
    """Send a card as the answer to an interaction that was deferred."""
    files = [file] if file is not None else []
    await interaction.followup.send(embed=to_embed(card), ephemeral=ephemeral, files=files)


async def answer_error(
    interaction: Interaction, error: BaseException, file: discord.File | None = None
) -> None:
    """Tell the user what went wrong: an expected failure as it is, a bug with an id."""
    if isinstance(error, TrainingError):
        embed = to_embed(error_card(error))
        await _send_privately(interaction, "", [embed], [file] if file is not None else [])
        return
    if isinstance(error, discord.HTTPException) and error.code in _NOT_OURS_TO_ANSWER:
        logger.warning("an interaction was answered already, or is too old: %s", error)
        return
    error_id = uuid.uuid4().hex[:8]
    logger.error("error %s in an interaction", error_id, exc_info=error)
    await _send_privately(interaction, unexpected_text(error_id), [], [])


async def _send_privately(
    interaction: Interaction, text: str, embeds: list[discord.Embed], files: list[discord.File]
) -> None:
    """Answer for the user's eyes, unless the command's deferral was for all to see."""
    if is_expired(interaction):
        await channel_of(interaction).send(text, embeds=embeds, files=files, silent=True)
    elif interaction.response.is_done():
        await interaction.followup.send(text, embeds=embeds, files=files, ephemeral=True)
    else:
        await interaction.response.send_message(text, embeds=embeds, files=files, ephemeral=True)
