"""`/runs`, `/status`, `/cancel`, `/resume`, `/download` and `/models`."""

import io
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, answer, guild_of
from bot.discord.answers.run_actions import ShowRun, cancel_run, resume_run, send_links
from bot.discord.commands.completion import Complete
from bot.messages.lists import models_card, runs_card
from bot.messages.run_card import run_card
from bot.service.service import Service
from bot.service.threads import in_thread
from training.catalogue.models import MODELS
from training.errors import NotFoundError
from training.pipeline.log_tail import LogTail, log_tail

_Act = Callable[[Interaction, str], Coroutine[Any, Any, None]]


def add_run_commands(
    tree: app_commands.CommandTree,
    service: Service,
    show_run: ShowRun,
    run_names: Complete,
    team_role: str | None,
) -> None:
    """Add the commands that show, stop and resume runs."""

    async def cancel(interaction: Interaction, run: str) -> None:
        await cancel_run(interaction, service, run, team_role)

    async def resume(interaction: Interaction, run: str) -> None:
        await resume_run(interaction, service, show_run, run)

    async def download(interaction: Interaction, run: str) -> None:
        await send_links(interaction, service, run)

    _add_lists(tree, service)
    _add_status(tree, service, run_names)
    for act, description in (
        (cancel, "Stop a run; its checkpoints are kept"),
        (resume, "Resume a failed or cancelled run as a new run"),
        (download, "Get links to the checkpoints of a run"),
    ):
        _add_for_a_run(tree, act, description, run_names)


def _add_lists(tree: app_commands.CommandTree, service: Service) -> None:
    @tree.command(name="models", description="List the models you can train")
    async def models(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        await answer(interaction, models_card(MODELS), ephemeral=True)

    @tree.command(name="runs", description="List this server's runs, newest first")
    @app_commands.guild_only()
    async def runs(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        found = await in_thread(service.installation.runs.summaries, guild_of(interaction))
        await answer(interaction, runs_card(found), ephemeral=True)


def _add_status(tree: app_commands.CommandTree, service: Service, run_names: Complete) -> None:
    @tree.command(name="status", description="Show a run; the newest one if you name none")
    @app_commands.guild_only()
    @app_commands.describe(run_name="Name of the run")
    @app_commands.rename(run_name="run-name")
    @app_commands.autocomplete(run_name=run_names)
    async def status(interaction: Interaction, run_name: str | None = None) -> None:
        await interaction.response.defer(ephemeral=True)
        guild = guild_of(interaction)
        view = await service.run(guild, run_name or await _newest(service, guild))
        card = run_card(view, now=datetime.now(UTC))
        tail = await in_thread(log_tail, service.installation.runtime, view.run)
        await answer(interaction, card, ephemeral=True, file=_log(tail))


def _add_for_a_run(
    tree: app_commands.CommandTree, act: _Act, description: str, run_names: Complete
) -> None:
    """Add a command named after `act` that takes the name of a run."""

    @tree.command(name=act.__name__, description=description)
    @app_commands.guild_only()
    @app_commands.describe(run_name="Name of the run")
    @app_commands.rename(run_name="run-name")
    @app_commands.autocomplete(run_name=run_names)
    async def command(interaction: Interaction, run_name: str) -> None:
        await interaction.response.defer(ephemeral=True)
        await act(interaction, run_name)


def _log(tail: LogTail | None) -> discord.File | None:
    if tail is None:
        return None
    return discord.File(io.BytesIO(tail.text.encode()), filename=f"{tail.key}-{tail.attempt}.txt")


async def _newest(service: Service, guild: str) -> str:
    found = await in_thread(service.installation.runs.summaries, guild)
    if not found:
        raise NotFoundError("There is no run here yet.", "Start one with /train.")
    return found[0].name
