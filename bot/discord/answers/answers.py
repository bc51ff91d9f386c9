"""Answers to interactions, and the error handler of all commands, buttons and dialogs."""

import logging
import time
import uuid

import discord

from bot.discord.answers.lost_connections import is_outage
from bot.messages.card import Card
from bot.messages.errors import error_card, unexpected_text
from bot.messages.installation import invite_link
from bot.service.rights import GuildMember
from training.errors import RequestError, TrainingError
from training.files.disk_space import is_full
from training.operations.run_drafts import Requester


def to_embed(card: Card) -> discord.Embed:
    embed = discord.Embed(
        title=card.title, description=card.description, colour=discord.Colour(card.colour)
    )
    for field in card.fields:
        embed.add_field(name=field.name, value=field.value, inline=field.inline)
    if card.footer:
        embed.set_footer(text=card.footer)
    if card.image:
        embed.set_image(url=card.image)
    return embed


logger = logging.getLogger(__name__)

# Error codes: another copy of the bot has acknowledged the interaction (40060), or the 3 s for
# acknowledging it have passed (10062).
_NOT_OURS_TO_ANSWER = (40060, 10062)

_LOST_CONNECTION = RequestError(
    "The bot lost a connection while handling your request.",
    "Check with /runs or /dataset list whether it succeeded; if not, try again.",
)
_DISK_FULL = RequestError(
    "The bot's disk is full, so your request failed.",
    "Ask the bot's operator to free up space, then try again.",
)
# An interaction's token expires after 15 minutes; stop using it shortly before. Ordinary messages
# need no token.
TOKEN_MINUTES = 14.0

Interaction = discord.Interaction[discord.Client]


class RefusedWithButtonsError(RequestError):
    """A refusal with buttons that offer what to do instead."""

    def __init__(self, cause: str, fix: str, view: discord.ui.View) -> None:
        super().__init__(cause, fix)
        self.view = view


def arrived_at(interaction: Interaction) -> float:
    """Return when an interaction arrived, by the monotonic clock; call this on arrival.

    The first call records the time. The interaction's id contains a time too, but by Discord's
    clock, which may differ from ours.
    """
    return interaction.extras.setdefault("arrived_at", time.monotonic())


def is_expired(interaction: Interaction) -> bool:
    """Return whether the interaction's token has expired, or is about to."""
    return time.monotonic() - arrived_at(interaction) > 60 * TOKEN_MINUTES


def channel_of(interaction: Interaction) -> discord.abc.Messageable:
    """Return the interaction's channel, where an answer goes after the token has expired.

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


def person_of(interaction: Interaction) -> GuildMember:
    """Return the member who used the command or button, with their roles and permissions."""
    user = interaction.user
    roles = user.roles if isinstance(user, discord.Member) else []
    return GuildMember(
        id=str(user.id),
        guild=guild_of(interaction),
        roles=frozenset(str(role.id) for role in roles),
        manages_server=interaction.permissions.manage_guild,
    )


def _require_membership(interaction: Interaction) -> None:
    """Raise an error if the server has the bot's commands but the bot is not a member."""
    client, guild_id = interaction.client, interaction.guild_id
    if guild_id is None or client.get_guild(guild_id) is not None:
        return
    raise RequestError(
        "This server has the bot's commands, but the bot is not a member of it, so it cannot post "
        "a run's card or announce its end.",
        f"Ask somebody who manages the server to add it: {invite_link(str(client.application_id))}",
    )


def _channel_of_runs(interaction: Interaction) -> int | None:
    """Return the channel for a new run's card; for another run's thread, the thread's channel."""
    channel, me = interaction.channel, interaction.client.user
    if isinstance(channel, discord.Thread) and me is not None and channel.owner_id == me.id:
        return channel.parent_id
    return interaction.channel_id


def requester_of(interaction: Interaction) -> Requester:
    """Return who made the request, and where.

    Raises:
        RequestError: The bot cannot post in the server, because it is not a member.
    """
    _require_membership(interaction)
    return Requester(
        guild=guild_of(interaction),
        by=str(interaction.user.id),
        channel=str(_channel_of_runs(interaction)),
        token=str(interaction.id),
    )


async def answer(
    interaction: Interaction,
    card: Card,
    *,
    ephemeral: bool = False,
    file: discord.File | None = None,
    view: discord.ui.View | None = None,
) -> None:
    """Answer a deferred interaction with a card."""
    files = [file] if file is not None else []
    embed, shown = to_embed(card), view or discord.utils.MISSING
    await interaction.followup.send(embed=embed, ephemeral=ephemeral, files=files, view=shown)


async def answer_error(
    interaction: Interaction, error: BaseException, file: discord.File | None = None
) -> None:
    """Tell the user what failed. A bug is logged, and the user gets the id of its log entry."""
    if isinstance(error, TrainingError):
        embed = to_embed(error_card(error))
        files = [file] if file is not None else []
        view = error.view if isinstance(error, RefusedWithButtonsError) else discord.utils.MISSING
        await _send_privately(interaction, "", [embed], files, view)
        return
    if isinstance(error, discord.HTTPException) and error.code in _NOT_OURS_TO_ANSWER:
        logger.warning("an interaction has already been answered, or is too old: %s", error)
        return
    if is_outage(error):
        logger.warning("the connection was lost during an interaction: %s", error)
        await answer_error(interaction, _LOST_CONNECTION)
        return
    if is_full(error):
        logger.warning("the disk was full during an interaction: %s", error)
        await answer_error(interaction, _DISK_FULL)
        return
    error_id = uuid.uuid4().hex[:8]
    logger.error("error %s in an interaction", error_id, exc_info=error)
    await _send_privately(interaction, unexpected_text(error_id), [], [], discord.utils.MISSING)


async def _send_privately(
    interaction: Interaction,
    text: str,
    embeds: list[discord.Embed],
    files: list[discord.File],
    view: discord.ui.View,
) -> None:
    """Send an answer that only the user sees, if possible.

    If the interaction was deferred publicly or its token has expired, everybody in the channel
    sees it.
    """
    if is_expired(interaction):
        channel = channel_of(interaction)
        shown = view or None
        await channel.send(text, embeds=embeds, files=files, view=shown, silent=True)
        return
    send = interaction.response.send_message
    if interaction.response.is_done():
        send = interaction.followup.send
    await send(text, embeds=embeds, files=files, view=view, ephemeral=True)
