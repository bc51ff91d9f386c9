"""The Discord client: commands, buttons, and the background work of the active copy."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, answer_error
from bot.discord.answers.lost_connections import send_persistently
from bot.discord.buttons.named_button import ServiceClient
from bot.discord.buttons.unknown_ids import ITEMS, answer_unknown, is_unknown
from bot.discord.cards.card_keeper import CardKeeper
from bot.discord.cards.notices import NoticeTeller
from bot.discord.cards.pages import PageTeller
from bot.discord.commands.completion import (
    dataset_names,
    lora_names,
    starting_points,
)
from bot.discord.commands.datasets import Intake, dataset_group, use_as_dataset
from bot.discord.commands.loras import lora_group
from bot.discord.commands.registration import CommandRegistration
from bot.discord.commands.runs import add_run_commands
from bot.discord.commands.settings import add_settings_command
from bot.discord.commands.train import train_command
from bot.discord.commands.trash import run_group
from bot.discord.copies.interaction_claims import ClaimedTree, InteractionClaims
from bot.discord.copies.interruptions import Interruptions
from bot.discord.copies.leader import Leader, Timing
from bot.discord.outage_log import log_outages_in_one_line
from bot.discord.reconnecting import pause_briefly
from bot.service.service import Service
from bot.service.threads import in_thread
from training.errors import RequestError
from training.ports import Claims, Leases, Store

# At startup, Discord announces the bot's servers one by one. The bot is ready once none has arrived
# for this long; servers that arrive later are served too.
_GUILD_SECONDS = 0.5
# The bot counts as started after this long even if its commands are not registered yet.
_COMMANDS_SECONDS = 20.0
# The bot uses no voice: silence the library's warnings about it.
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """Settings of the Discord client."""

    team_role: str | None = None
    upload_limit_mib: int = 500
    edit_seconds: float = 5.0
    progress_seconds: float = 5.0
    timing: Timing = field(default_factory=Timing)


class LoraBot(ServiceClient):
    """The bot, which serves every guild it is in. Several copies may run at once."""

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
        self._options = options
        self.is_connected = False
        self.leader = Leader(leases, self._be_active, options.timing)
        self._interruptions = Interruptions(self, claims, leases)
        self.claims = InteractionClaims(
            claims, self.leader, options.timing, self._interruptions.copy_name
        )
        self.keeper = CardKeeper(
            self,
            service,
            store,
            edit_seconds=options.edit_seconds,
        )
        self._notices = NoticeTeller(self, store)
        teller = PageTeller(self)
        service.uploads.announce = teller.tell_upload
        service.captions.announce = teller.tell_captions
        # Allow commands only in servers; by default, Discord also allows them in direct messages.
        self.tree = ClaimedTree(
            self,
            allowed_contexts=app_commands.AppCommandContext(guild=True),
            allowed_installs=app_commands.AppInstallationType(guild=True),
        )
        self.tree.error(self._on_command_error)
        self._add_commands()
        self._registration = CommandRegistration(self.tree, store)

    async def login(self, token: str) -> None:
        """Log in with the bot's token.

        Raises:
            RequestError: Discord does not know the token, or is unavailable.
        """
        try:
            await super().login(token)
        except discord.LoginFailure as error:
            raise RequestError(
                "Discord refused the token in LORABOT_DISCORD_TOKEN.",
                "Copy it again from your application's Bot page at discord.com/developers. For a "
                "bot on Modal, update the secret that ends in -discord and deploy again.",
            ) from error
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
            raise RequestError(
                f"Discord cannot be reached now ({error}).",
                "Start the bot again in a moment; it continues where it stopped.",
            ) from error

    async def setup_hook(self) -> None:
        """Set up discord.py and the buttons before the bot connects to Discord's gateway."""
        send_persistently()
        pause_briefly()
        log_outages_in_one_line()
        self.add_dynamic_items(*ITEMS)

    async def on_connect(self) -> None:
        self.is_connected = True

    async def on_resumed(self) -> None:
        self.is_connected = True

    async def on_disconnect(self) -> None:
        # discord.py reconnects on its own.
        self.is_connected = False

    async def on_interaction(self, interaction: Interaction) -> None:
        """Answer interactions that neither the command tree nor a button handles."""
        if not is_unknown(interaction):
            return
        if interaction.type is discord.InteractionType.modal_submit:
            # Let the copy of the bot that opened the dialog claim it first.
            await asyncio.sleep(self._options.timing.pause)
        if await self.claims.is_ours(interaction):
            await answer_unknown(interaction)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        self.keeper.look_again(guild.id)
        await self._keep_team_role(guild)

    async def on_guild_join(self, guild: discord.Guild) -> None:
        self.keeper.look_again(guild.id)
        await self._keep_team_role(guild)

    async def on_guild_role_create(self, role: discord.Role) -> None:
        await self._keep_team_role(role.guild)

    async def on_guild_role_update(self, _before: discord.Role, after: discord.Role) -> None:
        self.keeper.look_again(after.guild.id)

    async def on_guild_channel_update(
        self, _before: discord.abc.GuildChannel, after: discord.abc.GuildChannel
    ) -> None:
        self.keeper.look_again(after.guild.id)

    async def on_raw_thread_update(self, payload: discord.RawThreadUpdateEvent) -> None:
        self.keeper.look_again(payload.guild_id)

    async def _keep_team_role(self, guild: discord.Guild) -> None:
        """Store the id of the role that the operator named, because its name may change later."""
        named = [role for role in guild.roles if role.name == self._options.team_role]
        if named:
            keep = self.service.settings.begin_with_role
            await in_thread(keep, str(guild.id), named[0].name, str(named[0].id))

    async def take_part(self) -> None:
        """Become the active copy, or stand by if there is one. Call this once the bot is ready."""
        # One lease per Discord application: two bots may share a home folder, each with its own
        # cards and commands.
        await self._interruptions.begin()
        await self.leader.begin(f"bot/active/{self.application_id}")
        if self.leader.is_active:
            with suppress(TimeoutError):
                async with asyncio.timeout(_COMMANDS_SECONDS):
                    await self._registration.has_tried.wait()

    async def leave(self) -> None:
        """Hand over to another copy, and let the commands in progress finish; stay connected."""
        self.claims.stop()
        await self.service.imports.stop()
        await self.service.uploads.stop_checks()
        await self.service.captions.finish()
        # Release the lease first, so that the next copy takes over while commands finish here.
        await self.leader.end()
        await self.claims.finish()
        await self._interruptions.end()

    async def show_run(self, guild: str, run: str) -> None:
        """If this is the active copy of the bot, post the run's card unless it has one."""
        if self.leader.is_active:
            await self.keeper.show(guild, run)

    async def close(self) -> None:
        await self.leader.end()
        await super().close()
        self.keeper.close()
        self.claims.close()

    async def _be_active(self) -> None:
        """Do the work of the active copy until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._registration.keep(), name="commands")
            group.create_task(self.keeper.keep(), name="cards")
            group.create_task(self._notices.keep(), name="notices")
            group.create_task(self._interruptions.keep(), name="commands that were cut off")
            group.create_task(self.service.keep_clean(), name="clean-up")
            group.create_task(self.service.uploads.resume(), name="uploads")
            group.create_task(self.service.imports.resume(), name="imports")

    def _add_commands(self) -> None:
        options = self._options
        intake = Intake(
            service=self.service,
            limit_mib=options.upload_limit_mib,
            progress_seconds=options.progress_seconds,
        )
        datasets = dataset_names(self.service)
        starts = starting_points(self.service)
        self.tree.add_command(train_command(self.service, self.show_run, datasets, starts))
        names = lora_names(self.service)
        self.tree.add_command(lora_group(self.service, names, options.upload_limit_mib))
        self.tree.add_command(dataset_group(intake, datasets))
        self.tree.add_command(use_as_dataset(intake))
        add_settings_command(self.tree, self.service)
        self.tree.add_command(run_group(self.service))
        add_run_commands(self.tree, self.service, self.show_run)

    async def _on_command_error(
        self, interaction: Interaction, error: app_commands.AppCommandError
    ) -> None:
        if interaction.type is discord.InteractionType.autocomplete:
            with suppress(discord.HTTPException):  # late suggestions help nobody
                await interaction.response.autocomplete([])
            return
        await answer_error(interaction, _cause_of(error))


def _cause_of(error: app_commands.AppCommandError) -> Exception:
    """Return what went wrong in a command, or in reading its options."""
    match error:
        case app_commands.CommandInvokeError():
            return error.original
        case app_commands.CommandNotFound() | app_commands.CommandSignatureMismatch():
            return RequestError(
                "This command has changed since your Discord loaded it, so nothing was done.",
                "Restart Discord or press Ctrl+R, and type the command again.",
            )
        case app_commands.TransformerError(type=discord.AppCommandOptionType.channel):
            return RequestError(
                "The bot cannot see that channel, so nothing was done.",
                "Give it the View Channel permission there, or choose another channel.",
            )
        case _:
            return error
