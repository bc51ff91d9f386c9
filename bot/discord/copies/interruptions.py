"""Tells users that their command was cut off because the copy of the bot that ran it was killed.

Each copy stores a note of every command it begins, and deletes the note when the command has ended.
While it is alive, it holds its own lease. If another copy finds a note and can acquire the lease of
the copy that wrote it, the writer is dead, and the command will never end.
"""

import asyncio
import logging
import uuid
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

import aiohttp
import discord
from pydantic import BaseModel, ConfigDict, ValidationError

from bot.discord.answers.answers import TOKEN_MINUTES, Interaction, to_embed
from bot.discord.answers.lost_connections import is_outage
from bot.messages.errors import error_card
from bot.messages.interrupted import interrupted
from bot.service.threads import in_thread
from training.pipeline.leases import heartbeat, ignore_loss
from training.ports import Claims, Grant, Leases

# Between checks while another live copy has unfinished commands, or somebody could not be told.
_LOOK_SECONDS = 2.0
_REST_SECONDS = 300.0
_COMMAND = discord.InteractionType.application_command
logger = logging.getLogger(__name__)


class Begun(BaseModel):
    """The note of a command or button that a copy of the bot has begun to handle."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    interaction: str
    application: int
    token: str
    command: str
    user: int
    channel: int
    at: datetime
    copy_name: str

    @classmethod
    def of(cls, interaction: Interaction, copy_name: str) -> "Begun":
        return cls(
            interaction=str(interaction.id),
            application=interaction.application_id,
            token=interaction.token,
            command=command_of(interaction),
            user=interaction.user.id,
            channel=interaction.channel_id or 0,
            at=datetime.now(UTC),
            copy_name=copy_name,
        )

    @property
    def is_expired(self) -> bool:
        return datetime.now(UTC) - self.at > timedelta(minutes=TOKEN_MINUTES)


def command_of(interaction: Interaction) -> str:
    """Return a command's name without its slash, or a button's or dialog's id."""
    if interaction.type is _COMMAND and interaction.command is not None:
        return interaction.command.qualified_name
    return str((interaction.data or {}).get("custom_id", ""))


class Interruptions:
    """Finds copies of the bot that have died, and tells users that their commands were cut off."""

    def __init__(self, client: discord.Client, claims: Claims, leases: Leases) -> None:
        self._client, self._claims, self._leases = client, claims, leases
        self.copy_name = f"bot/copy/{uuid.uuid4().hex}"
        self._grant: Grant | None = None
        self._life = ExitStack()

    async def begin(self) -> None:
        """Hold this copy's own lease until `end`."""
        name = self.copy_name
        try:
            self._grant = await in_thread(self._leases.acquire, name, holder=name)
        except OSError:
            logger.warning("this copy could not acquire its own lease", exc_info=True)
        if self._grant is not None:
            self._life.enter_context(heartbeat(self._leases, self._grant, ignore_loss))

    async def end(self) -> None:
        """Release this copy's lease; all its commands must have ended."""
        grant, self._grant = self._grant, None
        if grant is not None:
            await in_thread(self._life.close)
            with suppress(OSError):
                await in_thread(self._leases.release, grant)

    async def keep(self) -> None:
        """Find dead copies and notify their users, until cancelled. The active copy does this."""
        while True:
            try:
                is_sure = await self._look()
            except OSError as error:
                logger.warning("unfinished commands cannot be listed: %s", error)
                is_sure = True
            await asyncio.sleep(_REST_SECONDS if is_sure else _LOOK_SECONDS)

    async def _look(self) -> bool:
        """Tell the users of dead copies that their commands were cut off.

        Returns:
            True unless another copy that is alive has unfinished commands, or Discord cannot be
            reached now.
        """
        is_sure = True
        lives = {self.copy_name: True}
        for data in await in_thread(self._claims.notes):
            begun = _read(data)
            if begun is None:
                continue
            if begun.copy_name not in lives:
                lives[begun.copy_name] = await in_thread(self._lives, begun.copy_name)
            if not lives[begun.copy_name] and await self._tell(begun):
                await in_thread(self._claims.forget, begun.interaction)
            elif begun.copy_name != self.copy_name:
                is_sure = False
        return is_sure

    def _lives(self, copy_name: str) -> bool:
        grant = self._leases.acquire(copy_name, holder=self.copy_name)
        if grant is not None:
            self._leases.release(grant)
        return grant is None

    async def _tell(self, begun: Begun) -> bool:
        """Tell a user that their command was cut off; return False if that must be repeated."""
        embed = to_embed(error_card(interrupted(begun.command)))
        try:
            if begun.is_expired:
                user = discord.Object(begun.user)
                channel = self._client.get_partial_messageable(begun.channel)
                allowed = discord.AllowedMentions(users=[user])
                await channel.send(f"<@{user.id}>", embed=embed, allowed_mentions=allowed)
            else:
                # This becomes the deferred answer if there is one, and a new message otherwise.
                hook = discord.Webhook.partial(begun.application, begun.token, client=self._client)
                hook.type = discord.WebhookType.application
                await hook.send(embed=embed, ephemeral=True)
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
            if is_outage(error):
                return False
            # If the command was never acknowledged, Discord has already shown the user a failure.
            logger.info("a user could not be told about a command that was cut off: %s", error)
        else:
            logger.warning("the command %s was cut off, and its user was told", begun.command)
        return True


def _read(data: bytes) -> Begun | None:
    try:
        return Begun.model_validate_json(data)
    except ValidationError:
        return None  # the note is damaged; it expires together with its claim
