"""`/dataset add|check|list|show|remove|restore` and "Use as dataset" on a message."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import discord
from discord import app_commands

from bot.discord.answers.answers import (
    Interaction,
    answer,
    answer_error,
    guild_of,
    person_of,
)
from bot.discord.answers.attachment_file import save_attachment
from bot.discord.answers.long_answer import LongAnswer
from bot.discord.buttons.datasets import discord_files, send_answer, send_privately
from bot.discord.buttons.uploads import require_chat_size
from bot.discord.commands.captions import add_caption_commands
from bot.discord.commands.completion import Complete
from bot.discord.commands.options import DATASET, NEW_DATASET, TRIGGER, ZIP
from bot.discord.commands.trash import add_restore
from bot.discord.commands.uploads import add_dataset_import, add_dataset_upload
from bot.messages.datasets.cards import dataset_list
from bot.messages.datasets.report import report_text
from bot.messages.options import in_chat
from bot.service.dataset_answers import (
    added_answer,
    checked_answer,
    removal_question,
    report_file,
    stored_answer,
)
from bot.service.service import Service
from bot.service.threads import in_thread
from training.errors import RequestError
from training.files.temporary import scratch_folder
from training.registry.dataset_draft import DatasetRefusedError, Upload, UploadMode
from training.registry.uploads.session import DatasetTarget
from training.runs.spec import name_from_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Dependencies and limits shared by the commands that take a zip."""

    service: Service
    limit_mib: int
    progress_seconds: float = 5.0


def dataset_group(intake: Intake, dataset_names: Complete) -> app_commands.Group:
    group = app_commands.Group(
        name="dataset", description="Clips and images to train on", guild_only=True
    )
    _add_add(group, intake, dataset_names)
    _add_check(group, intake, dataset_names)
    _add_lists(group, intake.service, dataset_names)
    add_caption_commands(group, intake.service, dataset_names)
    add_dataset_upload(group, intake.service, dataset_names)
    add_dataset_import(group, intake.service, dataset_names)
    add_restore(group, intake.service, "datasets")
    return group


def use_as_dataset(intake: Intake) -> app_commands.ContextMenu:
    """Return the message command that stores the zip attached to a message as a dataset."""

    async def use(interaction: Interaction, message: discord.Message) -> None:
        await interaction.response.defer(thinking=True)
        zips = [a for a in message.attachments if a.filename.lower().endswith(".zip")]
        if len(zips) != 1:
            raise RequestError(
                f"This message has {len(zips) or 'no'} zip files attached.",
                "Choose a message with exactly one zip, or use /dataset add.",
            )
        name = name_from_file(zips[0].filename)
        target = DatasetTarget(name=name)
        async with _received(interaction, intake, zips[0], target) as (upload, long):
            added = await intake.service.datasets.add(
                person_of(interaction), name, upload, on_progress=long.on_progress
            )
            await send_answer(long, guild_of(interaction), await added_answer(added))

    menu = app_commands.ContextMenu(name="Use as dataset", callback=use)
    menu.guild_only = True
    return menu


def _add_add(group: app_commands.Group, intake: Intake, dataset_names: Complete) -> None:
    @group.command(name="add", description="Add a dataset, or a new version of one, from a zip")
    @app_commands.describe(zip=ZIP, **NEW_DATASET)
    @app_commands.autocomplete(name=dataset_names)
    async def add(
        interaction: Interaction,
        name: str,
        zip: discord.Attachment,  # noqa: A002
        trigger: str | None = None,
        prefix: bool = False,
        mode: UploadMode = "new",
    ) -> None:
        await interaction.response.defer(thinking=True)
        target = DatasetTarget(name=name, mode=mode, trigger=trigger, is_prefixed=prefix)
        async with _received(interaction, intake, zip, target) as (upload, long):
            added = await intake.service.datasets.add(
                person_of(interaction), name, upload, mode=mode, on_progress=long.on_progress
            )
            await send_answer(long, guild_of(interaction), await added_answer(added))


def _add_check(group: app_commands.Group, intake: Intake, dataset_names: Complete) -> None:
    @group.command(name="check", description="Check a zip or a stored dataset; stores nothing")
    @app_commands.describe(
        zip=ZIP,
        name="A stored dataset to check instead of a zip",
        trigger=TRIGGER,
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
                await send_answer(long, guild, await checked_answer(found))
            return
        wanted = name or name_from_file(zip.filename)
        target = DatasetTarget(name=wanted, trigger=trigger, is_check=True)
        async with _received(interaction, intake, zip, target) as (upload, long):
            checked = await datasets.check(guild, wanted, upload, long.on_progress)
            await send_answer(long, guild, await checked_answer(checked))


def _add_lists(group: app_commands.Group, service: Service, dataset_names: Complete) -> None:
    @group.command(name="list", description="List this server's datasets")
    async def list_(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        guild = guild_of(interaction)
        found, damaged = await in_thread(service.installation.datasets.newest, guild)
        removals = await in_thread(service.installation.restores.removals, guild, "datasets")
        await answer(interaction, dataset_list(found, removals, damaged), ephemeral=True)

    @group.command(name="show", description="Show a dataset and its report")
    @app_commands.describe(name=DATASET)
    @app_commands.autocomplete(name=dataset_names)
    async def show(interaction: Interaction, name: str) -> None:
        await interaction.response.defer(ephemeral=True)
        guild = guild_of(interaction)
        found = await service.datasets.show(guild, name)
        shown = await stored_answer(found, is_known=False)
        await send_answer(LongAnswer(interaction), guild, shown)

    @group.command(
        name="remove", description="Remove a dataset or one version; asks first, and can be undone"
    )
    @app_commands.describe(name=DATASET)
    @app_commands.autocomplete(name=dataset_names)
    async def remove(interaction: Interaction, name: str) -> None:
        await interaction.response.defer(ephemeral=True)
        question = await removal_question(service.datasets, person_of(interaction), name)
        await send_privately(interaction, question)


@asynccontextmanager
async def _received(
    interaction: Interaction,
    intake: Intake,
    attachment: discord.Attachment,
    target: DatasetTarget,
) -> AsyncGenerator[tuple[Upload, LongAnswer]]:
    """Download a zip; yield it as an upload, and the answer that shows the progress.

    If the files are refused, send a report.
    """
    await require_chat_size(interaction, intake.service, attachment, intake.limit_mib, target)
    with scratch_folder("upload") as folder:
        # Keep the extensions: they distinguish the parts of a split archive.
        archive = folder / f"upload{''.join(Path(attachment.filename).suffixes[-2:])[-16:]}"
        await save_attachment(attachment, archive)
        upload = Upload(
            archive=archive,
            by=str(interaction.user.id),
            file_name=attachment.filename,
            trigger=target.trigger,
            is_prefixed=target.is_prefixed,
        )
        try:
            async with LongAnswer(interaction, intake.progress_seconds) as long:
                yield upload, long
        except DatasetRefusedError as error:
            # The card shows only the beginning of the report.
            name = attachment.filename.rsplit(".", 1)[0]
            text = await in_thread(report_text, error.report, in_chat)
            await answer_error(interaction, error, *discord_files((report_file(name, text),)))
