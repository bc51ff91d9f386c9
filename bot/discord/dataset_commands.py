"""`/dataset add|list|show|remove` and "Use as dataset" on a message."""

import io
import tempfile
from pathlib import Path

import discord
from discord import app_commands

from bot.discord.answers import Interaction, answer, answer_error, guild_of
from bot.discord.attachment_file import save_attachment
from bot.discord.completion import Complete
from bot.discord.embed import to_embed
from bot.messages.dataset_text import (
    dataset_card,
    dataset_list,
    removed_card,
    report_text,
)
from bot.service import AddedDataset, Service
from training.datasets import DatasetRefusedError
from training.errors import RequestError
from training.request import name_from_file

_MIB = 1024 * 1024


def dataset_group(
    service: Service, dataset_names: Complete, upload_limit_mib: int
) -> app_commands.Group:
    """Return the commands below `/dataset`."""
    group = app_commands.Group(
        name="dataset", description="The clips and images to train on", guild_only=True
    )

    @group.command(name="add", description="Add a dataset, or a new version of one, from a zip")
    @app_commands.describe(name="Name of the dataset, such as annika", zip="The zip with the files")
    async def add(interaction: Interaction, name: str, zip: discord.Attachment) -> None:  # noqa: A002
        await interaction.response.defer(thinking=True)
        await _add(interaction, service, name, zip, upload_limit_mib)

    @group.command(name="list", description="All datasets of this server")
    async def list_(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        found = await service.datasets(guild_of(interaction))
        await answer(interaction, dataset_list(found), ephemeral=True)

    @group.command(name="show", description="What a dataset holds and what was found in it")
    @app_commands.describe(name="Name of the dataset, or name@version")
    @app_commands.autocomplete(name=dataset_names)
    async def show(interaction: Interaction, name: str) -> None:
        await interaction.response.defer(ephemeral=True)
        found = await service.dataset(guild_of(interaction), name)
        await _send_report(interaction, found, is_ephemeral=True)

    @group.command(name="remove", description="Remove a dataset, or one version of it")
    @app_commands.describe(name="Name of the dataset, or name@version")
    @app_commands.autocomplete(name=dataset_names)
    async def remove(interaction: Interaction, name: str) -> None:
        await interaction.response.defer()
        removed = await service.remove_dataset(guild_of(interaction), name)
        await answer(interaction, removed_card(removed))

    return group


def use_as_dataset(service: Service, upload_limit_mib: int) -> app_commands.ContextMenu:
    """Return the command on a message that adds the zip attached to it."""

    async def use(interaction: Interaction, message: discord.Message) -> None:
        await interaction.response.defer(thinking=True)
        zips = [a for a in message.attachments if a.filename.lower().endswith(".zip")]
        if len(zips) != 1:
            raise RequestError(
                f"This message has {len(zips) or 'no'} zip files attached.",
                "Choose a message with exactly one, or use /dataset add.",
            )
        name = name_from_file(zips[0].filename)
        await _add(interaction, service, name, zips[0], upload_limit_mib)

    menu = app_commands.ContextMenu(name="Use as dataset", callback=use)
    menu.guild_only = True
    return menu


async def _add(
    interaction: Interaction,
    service: Service,
    name: str,
    attachment: discord.Attachment,
    limit_mib: int,
) -> None:
    if attachment.size > limit_mib * _MIB:
        raise RequestError(
            f"{attachment.filename} has {attachment.size / _MIB:.0f} MiB; "
            f"this bot takes up to {limit_mib} MiB.",
            "Shorten or shrink the clips, or split the dataset.",
        )
    with tempfile.TemporaryDirectory(prefix="lorabot-upload-") as folder:
        archive = Path(folder) / "upload.zip"
        await save_attachment(attachment, archive)
        try:
            added = await service.add_dataset(
                guild_of(interaction),
                name,
                archive,
                by=str(interaction.user.id),
                file_name=attachment.filename,
            )
        except DatasetRefusedError as error:
            # With the whole report, which the short answer only begins.
            await answer_error(interaction, error, _report_file(name, report_text(error.report)))
            return
    await _send_report(interaction, added, is_ephemeral=False)


async def _send_report(
    interaction: Interaction, added: AddedDataset, *, is_ephemeral: bool
) -> None:
    card = dataset_card(
        added.version, added.report, added.groups, same_as=added.same_as, others=added.others
    )
    await interaction.followup.send(
        embed=to_embed(card),
        file=_report_file(str(added.version.ref), report_text(added.report)),
        ephemeral=is_ephemeral,
    )


def _report_file(name: str, text: str) -> discord.File:
    return discord.File(io.BytesIO(text.encode()), filename=f"{name.replace('@', '-')}-report.txt")
