"""`/runs`, `/status`, `/cancel`, `/resume`, `/download` and `/models`."""

from datetime import UTC, datetime

from discord import app_commands

from bot.discord.answers import Interaction, answer, guild_of
from bot.discord.completion import Complete
from bot.discord.run_actions import ShowRun, cancel_run, resume_run, send_links
from bot.messages.lists import models_card, runs_card
from bot.messages.run_card import run_card
from bot.service import Service
from training.catalogue import MODELS
from training.errors import NotFoundError


def add_run_commands(
    tree: app_commands.CommandTree,
    service: Service,
    show_run: ShowRun,
    run_names: Complete,
    team_role: str | None,
) -> None:
    """Add the commands that look at runs and end them."""

    @tree.command(name="models", description="The models that can be trained")
    async def models(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        await answer(interaction, models_card(MODELS), ephemeral=True)

    @tree.command(name="runs", description="All runs of this server, newest first")
    @app_commands.guild_only()
    async def runs(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        found = await service.runs(guild_of(interaction))
        await answer(interaction, runs_card(found), ephemeral=True)

    @tree.command(name="status", description="How a run stands; the newest one when left out")
    @app_commands.guild_only()
    @app_commands.describe(run_name="Name of the run")
    @app_commands.rename(run_name="run-name")
    @app_commands.autocomplete(run_name=run_names)
    async def status(interaction: Interaction, run_name: str | None = None) -> None:
        await interaction.response.defer(ephemeral=True)
        guild = guild_of(interaction)
        view = await service.run(guild, run_name or await _newest(service, guild))
        await answer(interaction, run_card(view, now=datetime.now(UTC)), ephemeral=True)

    @tree.command(name="cancel", description="Stop a run; its checkpoints are kept")
    @app_commands.guild_only()
    @app_commands.describe(run_name="Name of the run")
    @app_commands.rename(run_name="run-name")
    @app_commands.autocomplete(run_name=run_names)
    async def cancel(interaction: Interaction, run_name: str) -> None:
        await interaction.response.defer(ephemeral=True)
        await cancel_run(interaction, service, run_name, team_role)

    @tree.command(name="resume", description="Go on with a failed or cancelled run as a new one")
    @app_commands.guild_only()
    @app_commands.describe(run_name="Name of the run")
    @app_commands.rename(run_name="run-name")
    @app_commands.autocomplete(run_name=run_names)
    async def resume(interaction: Interaction, run_name: str) -> None:
        await interaction.response.defer(ephemeral=True)
        await resume_run(interaction, service, show_run, run_name)

    @tree.command(name="download", description="Links to the checkpoints of a run")
    @app_commands.guild_only()
    @app_commands.describe(run_name="Name of the run")
    @app_commands.rename(run_name="run-name")
    @app_commands.autocomplete(run_name=run_names)
    async def download(interaction: Interaction, run_name: str) -> None:
        await interaction.response.defer(ephemeral=True)
        await send_links(interaction, service, run_name)


async def _newest(service: Service, guild: str) -> str:
    found = await service.runs(guild)
    if not found:
        raise NotFoundError("There is no run here yet.", "Start one with /train.")
    return found[0].name
