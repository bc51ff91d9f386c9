"""`/settings`: the bot's settings for a server, chosen by members with Manage Server."""

from typing import Literal

import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, person_of, to_embed
from bot.discord.buttons.hub_token import HubTokenButton
from bot.messages.figures import and_list
from bot.messages.installation import missing_permissions
from bot.messages.settings import ASK_ABOVE, FALLBACK_CHANNEL, TEAM_ROLE, settings_card
from bot.service.server_settings import ASK_ABOVE_USD, ServerSettings
from bot.service.service import Service
from training.errors import RequestError

Option = Literal["team-role", "fallback-channel", "ask-above"]
_NEEDED = ("View Channels", "Send Messages", "Embed Links")


def add_settings_command(tree: app_commands.CommandTree, service: Service) -> None:
    """Add `/settings`, which only members with Manage Server see."""

    @tree.command(name="settings", description="Show or change the bot's settings for this server")
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.describe(
        team_role="Role whose members may change other people's datasets, checkpoints and runs",
        fallback_channel="Channel that announces the end of a run if the run's own channel is gone",
        ask_above="In dollars; a run that may cost more needs a confirmation",
        clear="Setting to clear",
    )
    @app_commands.rename(
        team_role=TEAM_ROLE, fallback_channel=FALLBACK_CHANNEL, ask_above=ASK_ABOVE
    )
    async def settings(
        interaction: Interaction,
        team_role: discord.Role | None = None,
        fallback_channel: discord.TextChannel | None = None,
        ask_above: app_commands.Range[float, 0, 10_000] | None = None,
        clear: Option | None = None,
    ) -> None:
        await interaction.response.defer(ephemeral=True)
        changes: dict[str, str | bool | float | None] = {}
        if team_role is not None or clear == TEAM_ROLE:
            changes |= {"team_role": _role(team_role, clear), "is_team_role_chosen": True}
        if fallback_channel is not None or clear == FALLBACK_CHANNEL:
            changes |= {"fallback_channel": _channel(fallback_channel, clear)}
        if ask_above is not None or clear == ASK_ABOVE:
            changes |= {"ask_above_usd": _limit(ask_above, clear)}
        person = person_of(interaction)
        found = await service.server_settings(person, changes)
        gone = _gone(interaction.guild, found)
        card = settings_card(
            found.team_role,
            found.fallback_channel,
            gone,
            ask_above_usd=found.ask_above_usd,
            has_token=await service.hub_tokens.is_set(person.guild),
            is_changed=bool(changes),
        )
        view = discord.ui.View(timeout=None)
        view.add_item(HubTokenButton())
        await interaction.followup.send(embed=to_embed(card), view=view, ephemeral=True)


def _role(role: discord.Role | None, clear: Option | None) -> str | None:
    if role is None:
        return None
    if clear == TEAM_ROLE:
        raise _both(TEAM_ROLE)
    if role.is_default():
        raise RequestError(
            "@everyone cannot be the team role: all members could then change other people's runs.",
            "Choose a role that only the team has.",
        )
    return str(role.id)


def _channel(channel: discord.TextChannel | None, clear: Option | None) -> str | None:
    if channel is None:
        return None
    if clear == FALLBACK_CHANNEL:
        raise _both(FALLBACK_CHANNEL)
    bits = channel.permissions_for(channel.guild.me).value
    if missing := [name for name in missing_permissions(bits) if name in _NEEDED]:
        raise RequestError(
            f"The bot cannot post in {channel.name}: it lacks {and_list(missing)} there.",
            "Give it these permissions in that channel, or choose another channel.",
        )
    return str(channel.id)


def _limit(usd: float | None, clear: Option | None) -> float:
    if usd is None:
        return ASK_ABOVE_USD
    if clear == ASK_ABOVE:
        raise _both(ASK_ABOVE)
    return usd


def _both(option: Option) -> RequestError:
    return RequestError(f"{option} is both set and cleared.", "Either set it or clear it.")


def _gone(guild: discord.Guild | None, settings: ServerSettings) -> frozenset[str]:
    """Return the settings whose role or channel no longer exists."""
    if guild is None:
        return frozenset()
    role, channel = settings.team_role, settings.fallback_channel
    has_role = role is None or guild.get_role(int(role)) is not None
    has_channel = channel is None or guild.get_channel(int(channel)) is not None
    checks = ((TEAM_ROLE, has_role), (FALLBACK_CHANNEL, has_channel))
    return frozenset(name for name, is_there in checks if not is_there)
