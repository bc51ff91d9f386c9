"""Announces a run's end to its owner, only once: in the run's channel or, if need be, elsewhere."""

import hashlib
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import discord

from bot.discord.answers.layouts import picture_file, to_layout
from bot.discord.buttons.runs import RunButton, run_buttons
from bot.discord.cards.card_records import CardRecord
from bot.discord.cards.pictures import with_picture
from bot.discord.cards.refusals import is_lasting
from bot.messages.panel import Panel
from bot.messages.picture import Picture
from bot.messages.runs.answers import ended_elsewhere, ended_ping
from bot.messages.runs.card import run_card
from bot.service.run_charts import chart_if_possible
from bot.service.service import Service
from bot.service.threads import in_thread
from training.errors import RequestError
from training.pipeline.run_view import RunView
from training.runs.state import RunStatus

# Give up if a run's end could not be announced anywhere for this long.
_LONGEST_TRY = timedelta(days=7)
_NO_HISTORY = 160002  # a reply needs the Read Message History permission
logger = logging.getLogger(__name__)


class EndTeller:
    """Sends the ping at a run's end to its channel, the fallback channel or its owner."""

    def __init__(self, client: discord.Client, service: Service) -> None:
        self._client, self._service = client, service

    async def tell(self, view: RunView, card: CardRecord) -> None:
        """Announce the end in the run's channel, else in the fallback channel, else to the owner.

        Raises:
            discord.HTTPException: The channel refuses the message now but may accept it later.
            RequestError: The channel no longer accepts messages, and neither the fallback channel
                nor the owner accepts them now.
        """
        try:
            await self._ping(view, card)
        except discord.HTTPException as error:
            if not is_lasting(error, self.ended_for(view)):
                raise
            await self._tell_elsewhere(view)

    def ended_for(self, view: RunView) -> timedelta:
        """Return how long ago a run ended; zero if it has not ended."""
        now = self._service.installation.runtime.clock()
        return now - (view.run.ended_at or now)

    async def _ping(self, view: RunView, card: CardRecord) -> None:
        channel = self._client.get_partial_messageable(int(view.spec.channel or 0))
        mentions, allowed = await self._mentions(view)
        text = f"{mentions} {ended_ping(view)}"
        about: dict[str, Any] = {"allowed_mentions": allowed, "nonce": nonce(view, "end")}
        if not card.message:
            await channel.send(text, **about)
            return
        reference = discord.MessageReference(
            message_id=card.message, channel_id=card.channel, fail_if_not_exists=False
        )
        try:
            await channel.send(text, **about, reference=reference, mention_author=False)
        except discord.HTTPException as error:
            if error.code != _NO_HISTORY:
                raise
            await channel.send(text, **about)

    async def _tell_elsewhere(self, view: RunView) -> None:
        for tell in (self._tell_in_fallback, self._tell_directly):
            try:
                if await tell(view):
                    return
            except discord.HTTPException as error:
                logger.debug("run %s: its end was refused: %s", view.spec.name, error)
        if self.ended_for(view) < _LONGEST_TRY:
            raise RequestError(
                "Its end cannot be announced: the bot cannot post in its channel or in a fallback "
                "channel, and its owner accepts no direct messages.",
                "Choose a fallback channel in the server's settings.",
            )
        logger.warning("run %s: its end could not be announced to anybody", view.spec.name)

    async def _tell_in_fallback(self, view: RunView) -> bool:
        settings = await in_thread(self._service.settings.read, view.spec.guild)
        if settings.fallback_channel is None:
            return False
        mentions, allowed = await self._mentions(view)
        text = f"{mentions} {ended_elsewhere(view)}"
        channel = self._client.get_partial_messageable(int(settings.fallback_channel))
        about = {"allowed_mentions": allowed, "nonce": nonce(view, "end in fallback")}
        await self._send_card(channel, view, text, run_buttons(view), **about)
        return True

    async def _tell_directly(self, view: RunView) -> bool:
        """Send a direct message. It has no buttons, because they work only in the run's server."""
        guild = self._client.get_guild(int(view.spec.guild))
        owner = await self._client.create_dm(discord.Object(int(view.spec.requested_by)))
        server = guild.name if guild is not None and guild.name else "a server"
        text = ended_elsewhere(view, server=server)
        await self._send_card(owner, view, text, (), nonce=nonce(view, "end directly"))
        return True

    async def _send_card(
        self,
        place: discord.abc.Messageable,
        view: RunView,
        text: str,
        buttons: Sequence[RunButton],
        **about: Any,
    ) -> None:
        """Send the card of an ended run, with its chart, below a text."""
        card, runtime = self._card(view), self._service.installation.runtime

        async def send(chart: Picture | None) -> None:
            layout = to_layout(card, buttons, above=text, picture=chart)
            await place.send(view=layout, files=picture_file(chart), **about)

        chart = await in_thread(chart_if_possible, runtime, view)
        await with_picture(view.spec.name, chart, send)

    def _card(self, view: RunView) -> Panel:
        return run_card(view, now=self._service.installation.runtime.clock())

    async def _mentions(self, view: RunView) -> tuple[str, discord.AllowedMentions]:
        """Return a text that mentions the owner and the team role, with its allowed mentions.

        If the owner cancelled the run, the team role is not mentioned.
        """
        owner = discord.Object(int(view.spec.requested_by))
        settings = await in_thread(self._service.settings.read, view.spec.guild)
        role = settings.team_role
        is_own = view.run.cancelled_by == view.spec.requested_by
        is_cancelled = view.run.status is RunStatus.CANCELLED
        is_of_nobody_else = is_cancelled and is_own
        if role is None or is_of_nobody_else or self._has_lost(view.spec.guild, role):
            return f"<@{owner.id}>", discord.AllowedMentions(users=[owner], roles=False)
        allowed = discord.AllowedMentions(users=[owner], roles=[discord.Object(int(role))])
        return f"<@{owner.id}> <@&{role}>", allowed

    def _has_lost(self, guild_id: str, role: str) -> bool:
        """Return whether a server lacks a role; False if the server is unavailable."""
        guild = self._client.get_guild(int(guild_id))
        return guild is not None and not guild.unavailable and guild.get_role(int(role)) is None


def nonce(view: RunView, what: str) -> str:
    """Return a message's nonce.

    For a few minutes, Discord drops further messages with the same nonce. This prevents
    duplicates: a copy of the bot may be killed after sending a message and before recording it,
    and the next copy then sends the message again.
    """
    about = f"{view.spec.guild}/{view.spec.name}/{what}"
    return hashlib.sha256(about.encode()).hexdigest()[:25]  # the longest nonce that Discord accepts
