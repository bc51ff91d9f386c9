"""`/help`, `/models`, `/storage`, `/runs`, `/status`, `/cancel`, `/resume` and `/download`."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from discord import app_commands

from bot.discord.answers.answers import Interaction, answer, guild_of
from bot.discord.answers.layouts import picture_file, to_layout
from bot.discord.answers.run_actions import ShowRun, cancel_run, log_files, resume_run
from bot.discord.buttons.downloads import send_links
from bot.discord.buttons.help import help_answer
from bot.discord.buttons.run_pages import runs_page
from bot.discord.buttons.runs import run_buttons
from bot.discord.buttons.storage import storage_page
from bot.discord.commands.completion import EVERY, OPEN, RESUMABLE, Complete, run_names
from bot.messages.models import models_card
from bot.messages.runs.card import run_card
from bot.messages.runs.details import with_settings
from bot.service.run_charts import chart_of
from bot.service.service import Service
from bot.service.threads import in_thread
from training.catalogue.models import MODELS
from training.errors import NotFoundError
from training.pipeline.log_tail import log_tails
from training.ports import RunFilter
from training.runs.state import RunStatus
from training.wording import spelled

_Act = Callable[[Interaction, str], Coroutine[Any, Any, None]]


def add_run_commands(tree: app_commands.CommandTree, service: Service, show_run: ShowRun) -> None:
    """Add the commands that show, stop and resume runs."""

    async def cancel(interaction: Interaction, run: str) -> None:
        await cancel_run(interaction, service, run)

    async def resume(interaction: Interaction, run: str) -> None:
        await resume_run(interaction, service, show_run, run)

    async def download(interaction: Interaction, run: str) -> None:
        await send_links(interaction, service, run)

    _add_lists(tree, service)
    _add_status(tree, service)
    for act, fitting, description in (
        (cancel, OPEN, "Stop a run; its checkpoints are kept"),
        (resume, RESUMABLE, "Resume a failed or cancelled run as a new run"),
        (download, EVERY, "Get links to the checkpoints of a run"),
    ):
        _add_for_a_run(tree, act, description, run_names(service, fitting))


def _add_lists(tree: app_commands.CommandTree, service: Service) -> None:
    @tree.command(name="help", description="Show how to train your first LoRA")
    @app_commands.guild_only()
    async def show_help(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        card, view = await help_answer(interaction, service, "start")
        await answer(interaction, card, ephemeral=True, view=view)

    @tree.command(name="storage", description="Show what takes up space, and remove it")
    @app_commands.guild_only()
    async def storage(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        card, view = await storage_page(service, guild_of(interaction), 1)
        await answer(interaction, card, ephemeral=True, view=view)

    @tree.command(name="models", description="List the models you can train")
    async def models(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        await answer(interaction, models_card(MODELS), ephemeral=True)

    @tree.command(name="runs", description="List this server's runs, newest first")
    @app_commands.guild_only()
    @app_commands.describe(
        mine="Only runs that you started",
        state="Only runs in this state",
        model="Only runs of this model",
    )
    @app_commands.choices(
        model=[app_commands.Choice(name=model.name, value=model.name) for model in MODELS],
        state=[app_commands.Choice(name=state.value, value=state.value) for state in RunStatus],
    )
    async def runs(
        interaction: Interaction,
        mine: bool = False,
        state: str | None = None,
        model: str | None = None,
    ) -> None:
        await interaction.response.defer(ephemeral=True)
        owner = str(interaction.user.id) if mine else None
        only = RunFilter(model=model, state=state, requested_by=owner)
        card, view = await runs_page(service, guild_of(interaction), only, number=1)
        await answer(interaction, card, ephemeral=True, view=view)


def _add_status(tree: app_commands.CommandTree, service: Service) -> None:
    @tree.command(name="status", description="Show a run; the newest one if you name none")
    @app_commands.guild_only()
    @app_commands.describe(run_name="Name of the run")
    @app_commands.rename(run_name="run-name")
    @app_commands.autocomplete(run_name=run_names(service))
    async def status(interaction: Interaction, run_name: str | None = None) -> None:
        await interaction.response.defer(ephemeral=True)
        guild = guild_of(interaction)
        name = spelled(run_name) if run_name else await _newest(service, guild)
        view = await in_thread(service.installation.runs.view, guild, name)
        runtime = service.installation.runtime
        card = with_settings(run_card(view, now=datetime.now(UTC)), view.spec)
        chart = await in_thread(chart_of, runtime, view)
        logs = log_files(await in_thread(log_tails, runtime, view.run))
        layout = to_layout(card, run_buttons(view), picture=chart, files=logs)
        files = [*picture_file(chart), *logs]
        await interaction.followup.send(view=layout, files=files, ephemeral=True)


def _add_for_a_run(
    tree: app_commands.CommandTree, act: _Act, description: str, complete: Complete
) -> None:
    """Add a command named after `act`, which calls `act` with the name of a run."""

    @tree.command(name=act.__name__, description=description)
    @app_commands.guild_only()
    @app_commands.describe(run_name="Name of the run")
    @app_commands.rename(run_name="run-name")
    @app_commands.autocomplete(run_name=complete)
    async def command(interaction: Interaction, run_name: str) -> None:
        await interaction.response.defer(ephemeral=True)
        await act(interaction, spelled(run_name))


async def _newest(service: Service, guild: str) -> str:
    found = (await service.run_lists.newest(guild, 1)).runs
    if not found:
        raise NotFoundError("No runs yet.", "Start one with /train.")
    return found[0].name
