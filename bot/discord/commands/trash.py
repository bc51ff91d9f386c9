"""`/dataset restore`, `/checkpoint restore`, `/run remove` and `/run restore`."""

from discord import app_commands

from bot.discord.answers.answers import Interaction, answer, person_of
from bot.discord.buttons.trash import undo_button
from bot.discord.commands.completion import ENDED, removed_names, run_names
from bot.messages.trash import removed_run_card, restored_card
from bot.service.service import Service
from training.registry.trash import TRASH_DAYS
from training.store_keys import TrashKind
from training.wording import spelled


def add_restore(
    group: app_commands.Group, service: Service, kind: TrashKind, *, option: str = "name"
) -> None:
    """Add the command that restores removed items."""
    what = {"datasets": "a dataset or version", "checkpoints": "a LoRA file", "runs": "a run"}[kind]

    @group.command(
        name="restore",
        description=f"Restore {what} that was removed in the last {TRASH_DAYS} days",
    )
    @app_commands.describe(name="What was removed")
    @app_commands.rename(name=option)
    @app_commands.autocomplete(name=removed_names(service, kind))
    async def restore(interaction: Interaction, name: str) -> None:
        await interaction.response.defer()
        restored = await service.trash.restore(person_of(interaction), kind, name)
        await answer(interaction, restored_card(restored))


def run_group(service: Service) -> app_commands.Group:
    group = app_commands.Group(name="run", description="Remove and restore runs", guild_only=True)

    @group.command(
        name="remove", description="Remove a run that has ended, and its checkpoints; can be undone"
    )
    @app_commands.describe(run_name="Name of the run")
    @app_commands.rename(run_name="run-name")
    @app_commands.autocomplete(run_name=run_names(service, ENDED))
    async def remove(interaction: Interaction, run_name: str) -> None:
        await interaction.response.defer()
        removed = await service.remove_run(person_of(interaction), spelled(run_name))
        card, undo = removed_run_card(removed), undo_button(removed.removal)
        await answer(interaction, card, view=undo)

    add_restore(group, service, "runs", option="run-name")
    return group
