"""Answers to interactions, and the one error handler."""

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

# Acknowledged by another copy (40060), or delivered after more than 3 s (10062).
_NOT_OURS_TO_ANSWER = (40060, 10062)

# An interaction token expires after 15 minutes; ordinary messages need none.
TOKEN_MINUTES = 14.0

Interaction = discord.Interaction[discord.Client]


def is_expired(interaction: Interaction) -> bool:
    """Return whether the interaction's token has expired."""
    return utcnow() - interaction.created_at > timedelta(minutes=TOKEN_MINUTES)


def channel_of(interaction: Interaction) -> discord.abc.Messageable:
    """Return the interaction's channel, for an answer that comes too late for its token.

    Raises:
        RequestError: The channel is gone.
    """
    if not isinstance(interaction.channel, discord.abc.Messageable):
        raise RequestError(
            "This took too long, and the channel is gone.", "Try again in another channel."
        )
    return interaction.channel


def guild_of(interaction: Interaction) -> str:
    """Return the guild of the interaction.

    Raises:
        RequestError: The command was used outside a server.
    """
    if interaction.guild_id is None:
        raise RequestError(
            "Datasets and runs belong to a server; this is a direct message.",
            "Use the command in a channel of your server.",
        )
    return str(interaction.guild_id)


def requester_of(interaction: Interaction) -> Requester:
    """Return who made the request, and where."""
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
    """Answer a deferred interaction with a card."""
    files = [file] if file is not None else []
    await interaction.followup.send(embed=to_embed(card), ephemeral=ephemeral, files=files)


async def answer_error(
    interaction: Interaction, error: BaseException, file: discord.File | None = None
) -> None:
    """Show an expected failure as it is, and an id for anything else, which is logged."""
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
    """Answer privately, unless the interaction was deferred publicly."""
    if is_expired(interaction):
        await channel_of(interaction).send(text, embeds=embeds, files=files, silent=True)
    elif interaction.response.is_done():
        await interaction.followup.send(text, embeds=embeds, files=files, ephemeral=True)
    else:
        await interaction.response.send_message(text, embeds=embeds, files=files, ephemeral=True)
