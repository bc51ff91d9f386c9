"""`/checkpoint add|list|remove`: LoRA files that runs can start from."""

import tempfile
from pathlib import Path

import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, answer, guild_of
from bot.discord.commands.completion import Complete
from bot.messages.checkpoint_text import (
    LARGER_FILES,
    checkpoint_card,
    checkpoint_list,
    removed_checkpoint_card,
)
from bot.service.service import Service
from bot.service.threads import in_thread
from training.catalogue.models import MODELS
from training.errors import RequestError
from training.registry.loras import expert_named

_MIB = 1024 * 1024
_SUFFIX = ".safetensors"


def checkpoint_group(
    service: Service, checkpoint_names: Complete, upload_limit_mib: int
) -> app_commands.Group:
    """Return the commands below `/checkpoint`."""
    group = app_commands.Group(
        name="checkpoint", description="LoRA files that runs can start from", guild_only=True
    )

    @group.command(name="add", description="Add a LoRA that runs can start from")
    @app_commands.describe(
        file="The .safetensors file; for large ones see /checkpoint list",
        model="Model it was trained for",
        expert="Wan 2.2: expert it was trained for; read from the file if you leave it out",
        name="Name to store it as; the file's name if you leave it out",
    )
    @app_commands.choices(model=[app_commands.Choice(name=m.name, value=m.name) for m in MODELS])
    @app_commands.choices(
        expert=[app_commands.Choice(name=name, value=name) for name in ("high", "low")]
    )
    async def add(
        interaction: Interaction,
        file: discord.Attachment,
        model: str,
        expert: str = "",
        name: str = "",
    ) -> None:
        await interaction.response.defer(thinking=True)
        _require_suitable(file, upload_limit_mib)
        with tempfile.TemporaryDirectory(prefix="lorabot-upload-") as folder:
            saved = Path(folder) / Path(file.filename).name
            await file.save(saved)
            record = await in_thread(
                service.installation.loras.add,
                guild_of(interaction),
                saved,
                model=model,
                expert=expert_named(expert) if expert else None,
                name=name or None,
                by=str(interaction.user.id),
            )
        await answer(interaction, checkpoint_card(record))

    @group.command(name="list", description="List the LoRA files that runs can start from")
    async def list_(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        guild = guild_of(interaction)
        found = await in_thread(service.installation.loras.all, guild)
        await answer(interaction, checkpoint_list(found, guild), ephemeral=True)

    @group.command(
        name="remove", description="Remove a LoRA file; runs that started from it keep their copy"
    )
    @app_commands.describe(name="Name of the checkpoint")
    @app_commands.autocomplete(name=checkpoint_names)
    async def remove(interaction: Interaction, name: str) -> None:
        await interaction.response.defer()
        removed = await in_thread(service.installation.loras.remove, guild_of(interaction), name)
        await answer(interaction, removed_checkpoint_card(removed))

    return group


def _require_suitable(file: discord.Attachment, limit_mib: int) -> None:
    """Refuse a file by its name or size before it is downloaded."""
    if not file.filename.lower().endswith(_SUFFIX):
        raise RequestError(
            f"{file.filename} is not a {_SUFFIX} file; other formats can run code when opened.",
            f"Convert it to {_SUFFIX} on a machine you trust, and add that.",
        )
    if file.size > limit_mib * _MIB:
        raise RequestError(
            f"{file.filename} has {file.size / _MIB:.0f} MiB; this bot takes up to {limit_mib} MiB "
            "through chat.",
            LARGER_FILES,
        )
