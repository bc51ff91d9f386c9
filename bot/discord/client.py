"""The Discord client: commands, buttons, and the background work of the active copy."""

import asyncio
import hashlib
import json
from dataclasses import dataclass, field

import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, answer_error
from bot.discord.buttons.datasets import DatasetButton
from bot.discord.buttons.named_button import ServiceClient
from bot.discord.buttons.runs import RunButton
from bot.discord.cards.card_keeper import CardKeeper
from bot.discord.cards.notices import NoticeTeller
from bot.discord.commands.checkpoints import checkpoint_group
from bot.discord.commands.completion import (
    checkpoint_names,
    dataset_names,
    run_names,
    starting_points,
)
from bot.discord.commands.datasets import Intake, dataset_group, use_as_dataset
from bot.discord.commands.runs import add_run_commands
from bot.discord.commands.train import train_command
from bot.discord.copies.interaction_claims import ClaimedTree, InteractionClaims
from bot.discord.copies.leader import Leader, Timing
from bot.service.service import Service
from bot.service.threads import in_thread
from training.errors import RequestError
from training.ports import Claims, Leases, Store

# Start-up waits this long for the next server; later ones are served as well.
_GUILD_SECONDS = 0.5
# The bot uses no voice: silence the library's warnings about it.
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """Settings of the chat side."""

    team_role: str | None = None
    upload_limit_mib: int = 500
    edit_seconds: float = 5.0
    progress_seconds: float = 5.0
    timing: Timing = field(default_factory=Timing)


class LoraBot(ServiceClient):
    """Serves every guild it is in; several copies may run at once."""

    def __init__(
        self, service: Service, store: Store, leases: Leases, claims: Claims, options: ChatOptions
    ) -> None:
        # Commands, buttons and attachments need no privileged intent.
        super().__init__(
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            guild_ready_timeout=_GUILD_SECONDS,
        )
        self.service = service
        self.team_role = options.team_role
        self._store = store
        self._options = options
        self.is_connected = False
        self._has_sent_commands = asyncio.Event()
        self.duty = Leader(leases, self._be_active, options.timing)
        self.handling = InteractionClaims(claims, self.duty, options.timing)
        self.keeper = CardKeeper(
            self,
            service,
            store,
            edit_seconds=options.edit_seconds,
            team_role=options.team_role,
        )
        self._notices = NoticeTeller(self, store)
        self.tree = ClaimedTree(self)
        self.tree.error(self._on_command_error)
        self._add_commands()

    async def login(self, token: str) -> None:
        """Log in with the bot's token.

        Raises:
            RequestError: Discord does not know the token.
        """
        try:
            await super().login(token)
        except discord.LoginFailure as error:
            raise RequestError(
                "Discord refused the token in LORABOT_DISCORD_TOKEN.",
                "Copy it again from discord.com/developers, your application, page Bot. For a bot "
                "on Modal, update the secret that ends in -discord and deploy again.",
            ) from error

    async def setup_hook(self) -> None:
        """Register buttons before the gateway opens."""
        self.add_dynamic_items(RunButton, DatasetButton)

    async def on_connect(self) -> None:
        """Note a new connection."""
        self.is_connected = True

    async def on_resumed(self) -> None:
        """Note that a connection goes on after a break."""
        self.is_connected = True

    async def on_disconnect(self) -> None:
        """Note that the connection broke; the library connects again by itself."""
        self.is_connected = False

    async def take_part(self) -> None:
        """Become the active copy, or stand by if there is one. Call when the bot is ready."""
        # Per application: two bots may share a home, each with its own cards and commands.
        await self.duty.begin(f"bot/active/{self.application_id}")
        if self.duty.is_active:
            await self._has_sent_commands.wait()

    async def leave(self) -> None:
        """Hand over to another copy and finish running commands; stays connected."""
        self.handling.stop()
        # First, so that the next copy can take over while commands finish here.
        await self.duty.end()
        await self.handling.finish()

    async def show_run(self, guild: str, run: str) -> None:
        """Post or edit the card of a run, if this is the active copy."""
        if self.duty.is_active:
            await self.keeper.show(guild, run)

    async def close(self) -> None:
        """Stop keeping cards and leave the gateway."""
        await self.duty.end()
        await super().close()

    async def _be_active(self) -> None:
        """Do the work of the active copy until cancelled."""
        try:
            await self._sync_if_changed()
        finally:
            self._has_sent_commands.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.keeper.keep(), name="cards")
            group.create_task(self._notices.keep(), name="notices")

    def _add_commands(self) -> None:
        options = self._options
        intake = Intake(
            service=self.service,
            limit_mib=options.upload_limit_mib,
            progress_seconds=options.progress_seconds,
        )
        datasets, runs = dataset_names(self.service), run_names(self.service)
        starts = starting_points(self.service)
        self.tree.add_command(train_command(self.service, self.show_run, datasets, starts))
        names = checkpoint_names(self.service)
        self.tree.add_command(checkpoint_group(self.service, names, options.upload_limit_mib))
        self.tree.add_command(dataset_group(intake, datasets))
        self.tree.add_command(use_as_dataset(intake))
        add_run_commands(self.tree, self.service, self.show_run, runs, self.team_role)

    async def _sync_if_changed(self) -> None:
        """Register the commands with Discord if they changed; Discord limits this per day."""
        payload = [command.to_dict(self.tree) for command in self.tree.get_commands()]
        application = str(self.application_id)
        text = json.dumps([application, payload], sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest().encode()
        key = "bot/commands-sent"
        known = await in_thread(_read_or_none, self._store, key)
        if known != digest:
            await self.tree.sync()
            await in_thread(self._store.write, key, digest)

    async def _on_command_error(
        self, interaction: Interaction, error: app_commands.AppCommandError
    ) -> None:
        original = error.original if isinstance(error, app_commands.CommandInvokeError) else error
        await answer_error(interaction, original)


def _read_or_none(store: Store, key: str) -> bytes | None:
    try:
        return store.read(key)
    except FileNotFoundError:
        return None
