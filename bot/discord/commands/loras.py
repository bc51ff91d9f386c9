"""`/checkpoint add|list|remove|restore`: LoRA files that runs can start from."""

from pathlib import Path

import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, answer, guild_of, person_of
from bot.discord.answers.attachment_file import save_attachment
from bot.discord.buttons.trash import undo_button
from bot.discord.buttons.uploads import require_chat_size
from bot.discord.commands.completion import Complete
from bot.discord.commands.options import lora_options, lora_target
from bot.discord.commands.trash import add_restore
from bot.discord.commands.uploads import add_lora_upload
from bot.messages.loras import lora_card, lora_list
from bot.messages.trash import removed_card
from bot.service.service import Service
from bot.service.threads import in_thread
from training.errors import RequestError
from training.files.temporary import scratch_folder

_SUFFIX = ".safetensors"


def lora_group(service: Service, lora_names: Complete, upload_limit_mib: int) -> app_commands.Group:
    group = app_commands.Group(
        name="checkpoint", description="LoRA files that runs can start from", guild_only=True
    )

    @group.command(name="add", description="Add a LoRA that runs can start from")
    @app_commands.describe(file="The .safetensors file; /checkpoint upload takes larger ones")
    @lora_options
    async def add(
        interaction: Interaction,
        file: discord.Attachment,
        model: str,
        expert: str = "",
        name: str = "",
    ) -> None:
        await interaction.response.defer(thinking=True)
        _require_suitable(file)
        target = lora_target(model, expert, name)
        await require_chat_size(interaction, service, file, upload_limit_mib, target)
        with scratch_folder("upload") as folder:
            saved = folder / Path(file.filename).name
            await save_attachment(file, saved)
            record = await service.loras.add(
                person_of(interaction),
                saved,
                model=target.model,
                expert=target.expert,
                name=target.name,
            )
        await answer(interaction, lora_card(record))

    @group.command(name="list", description="List the LoRA files that runs can start from")
    async def list_(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        guild = guild_of(interaction)
        found, damaged = await in_thread(service.installation.loras.all, guild)
        removals = await in_thread(service.installation.restores.removals, guild, "checkpoints")
        await answer(interaction, lora_list(found, guild, removals, damaged), ephemeral=True)

    @group.command(
        name="remove", description="Remove a LoRA file; can be undone, and runs keep their copy"
    )
    @app_commands.describe(name="Name of the checkpoint")
    @app_commands.autocomplete(name=lora_names)
    async def remove(interaction: Interaction, name: str) -> None:
        await interaction.response.defer()
        removed = await service.loras.remove(person_of(interaction), name)
        await answer(interaction, removed_card(removed), view=undo_button(removed))

    add_restore(group, service, "checkpoints")
    add_lora_upload(group, service)
    return group


def _require_suitable(file: discord.Attachment) -> None:
    """Refuse a file whose name does not end in .safetensors, before it is downloaded."""
    if not file.filename.lower().endswith(_SUFFIX):
        raise RequestError(
            f"{file.filename} is not a {_SUFFIX} file; other formats can run code when opened.",
            f"Convert it to {_SUFFIX} on a machine you trust, and add the converted file.",
        )
