"""`/dataset add|check|list|show|remove` and "Use as dataset" on a message."""

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, answer, answer_error, guild_of
from bot.discord.answers.attachment_file import save_attachment
from bot.discord.answers.dataset_answer import report_file, send_stored
from bot.discord.answers.long_answer import LongAnswer
from bot.discord.buttons.datasets import ask_to_remove, show_checked, show_stored, stored_buttons
from bot.discord.commands.captions import add_caption_commands
from bot.discord.commands.completion import Complete
from bot.messages.dataset_text import dataset_list, report_text
from bot.service.datasets import Mode
from bot.service.service import Service
from bot.service.threads import in_thread
from training.errors import RequestError
from training.registry.dataset_draft import DatasetRefusedError, Upload
from training.runs.spec import name_from_file

_MIB = 1024 * 1024
_TRIGGER = "Trigger word that every caption should contain, such as ann1ka"
_NAME = "Name of the dataset, or name@version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What the commands that take a zip share."""

    service: Service
    limit_mib: int
    progress_seconds: float = 5.0


def dataset_group(intake: Intake, dataset_names: Complete) -> app_commands.Group:
    """Return the commands below `/dataset`."""
    group = app_commands.Group(
        name="dataset", description="Clips and images to train on", guild_only=True
    )
    _add_add(group, intake, dataset_names)
    _add_check(group, intake, dataset_names)
    _add_lists(group, intake.service, dataset_names)
    add_caption_commands(group, intake.service, dataset_names)
    return group


def use_as_dataset(intake: Intake) -> app_commands.ContextMenu:
    """Return the message command that adds an attached zip."""

    async def use(interaction: Interaction, message: discord.Message) -> None:
        await interaction.response.defer(thinking=True)
        zips = [a for a in message.attachments if a.filename.lower().endswith(".zip")]
        if len(zips) != 1:
            raise RequestError(
                f"This message has {len(zips) or 'no'} zip files attached.",
                "Choose a message with exactly one zip, or use /dataset add.",
            )
        name = name_from_file(zips[0].filename)
        async with _received(interaction, intake, zips[0]) as (upload, long):
            guild = guild_of(interaction)
            added = await intake.service.datasets.add(
                guild, name, upload, on_progress=long.on_progress
            )
            await show_stored(interaction, added, long)

    menu = app_commands.ContextMenu(name="Use as dataset", callback=use)
    menu.guild_only = True
    return menu


def _add_add(group: app_commands.Group, intake: Intake, dataset_names: Complete) -> None:
    @group.command(name="add", description="Add a dataset from a zip, or a new version of one")
    @app_commands.describe(
        name="Name of the dataset, such as annika",
        zip="Zip with the files",
        trigger=_TRIGGER,
        prefix="Prefix captions that lack the trigger word with it",
        mode="new: only these files; add: keep the existing ones; replace: overwrite them",
    )
    @app_commands.autocomplete(name=dataset_names)
    async def add(
        interaction: Interaction,
        name: str,
        zip: discord.Attachment,  # noqa: A002
        trigger: str | None = None,
        prefix: bool = False,
        mode: Mode = "new",
    ) -> None:
        await interaction.response.defer(thinking=True)
        wish = _Wish(trigger, prefix)
        async with _received(interaction, intake, zip, wish) as (upload, long):
            added = await intake.service.datasets.add(
                guild_of(interaction), name, upload, mode=mode, on_progress=long.on_progress
            )
            await show_stored(interaction, added, long)


def _add_check(group: app_commands.Group, intake: Intake, dataset_names: Complete) -> None:
    @group.command(name="check", description="Check a zip or a stored dataset; stores nothing")
    @app_commands.describe(
        zip="Zip with the files", name="A stored dataset instead", trigger=_TRIGGER
    )
    @app_commands.autocomplete(name=dataset_names)
    async def check(
        interaction: Interaction,
        zip: discord.Attachment | None = None,  # noqa: A002
        name: str | None = None,
        trigger: str | None = None,
    ) -> None:
        await interaction.response.defer(thinking=True)
        guild, datasets = guild_of(interaction), intake.service.datasets
        if zip is None and name is None:
            raise RequestError(
                "There is nothing to check.", "Attach a zip, or name a stored dataset."
            )
        if zip is None:
            async with LongAnswer(interaction, intake.progress_seconds) as long:
                found = await datasets.check_again(guild, name or "", trigger, long.on_progress)
                await show_checked(interaction, found, long)
            return
        wanted = name or name_from_file(zip.filename)
        async with _received(interaction, intake, zip, _Wish(trigger)) as (upload, long):
            checked = await datasets.check(guild, wanted, upload, long.on_progress)
            await show_checked(interaction, checked, long)


def _add_lists(group: app_commands.Group, service: Service, dataset_names: Complete) -> None:
    @group.command(name="list", description="List this server's datasets")
    async def list_(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        found = await in_thread(service.installation.datasets.newest, guild_of(interaction))
        await answer(interaction, dataset_list(found), ephemeral=True)

    @group.command(name="show", description="Show a dataset and its report")
    @app_commands.describe(name=_NAME)
    @app_commands.autocomplete(name=dataset_names)
    async def show(interaction: Interaction, name: str) -> None:
        await interaction.response.defer(ephemeral=True)
        guild = guild_of(interaction)
        found = await service.datasets.show(guild, name)
        view = stored_buttons(guild, found)
        await send_stored(LongAnswer(interaction), found, view, is_known=False)

    @group.command(name="remove", description="Remove a dataset or one version; asks first")
    @app_commands.describe(name=_NAME)
    @app_commands.autocomplete(name=dataset_names)
    async def remove(interaction: Interaction, name: str) -> None:
        await interaction.response.defer(ephemeral=True)
        await ask_to_remove(interaction, service, name)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What to do with the captions of an upload."""

    trigger: str | None = None
    is_prefixed: bool = False


@asynccontextmanager
async def _received(
    interaction: Interaction,
    intake: Intake,
    attachment: discord.Attachment,
    wish: _Wish | None = None,
) -> AsyncGenerator[tuple[Upload, LongAnswer]]:
    """Download an attached zip for the body; a refusal includes the full report."""
    wish = wish or _Wish()
    if attachment.size > intake.limit_mib * _MIB:
        raise RequestError(
            f"{attachment.filename} has {attachment.size / _MIB:.0f} MiB; "
            f"the limit is up to {intake.limit_mib} MiB.",
            "Shorten or shrink the clips, or split the dataset and send the second half with "
            "mode:add.",
        )
    if wish.is_prefixed and not wish.trigger:
        raise RequestError("prefix needs a trigger word.", "Add the option trigger.")
    with tempfile.TemporaryDirectory(prefix="lorabot-upload-") as folder:
        archive = Path(folder) / "upload.zip"
        await save_attachment(attachment, archive)
        upload = Upload(
            archive=archive,
            by=str(interaction.user.id),
            file_name=attachment.filename,
            trigger=wish.trigger,
            is_prefixed=wish.is_prefixed,
        )
        try:
            async with LongAnswer(interaction, intake.progress_seconds) as long:
                yield upload, long
        except DatasetRefusedError as error:
            # The short answer only shows the beginning of the report.
            name = attachment.filename.rsplit(".", 1)[0]
            text = await in_thread(report_text, error.report)
            await answer_error(interaction, error, report_file(name, text))
