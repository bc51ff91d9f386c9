"""`/dataset captions` and `/dataset diff`."""

import io

import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, guild_of
from bot.discord.answers.embed import to_embed
from bot.discord.buttons.datasets import send_captions, show_stored
from bot.discord.commands.completion import Complete
from bot.messages.difference_text import difference_card, difference_text
from bot.service.service import Service
from bot.service.threads import in_thread
from training.dataset.captions.table import TABLE_LIMIT_BYTES
from training.errors import RequestError


def add_caption_commands(
    group: app_commands.Group, service: Service, dataset_names: Complete
) -> None:
    """Add the commands that read, edit and compare captions."""

    @group.command(
        name="captions", description="Get the captions as a table, or send the edited table back"
    )
    @app_commands.describe(
        name="Name of the dataset, or name@version",
        file="The edited table (CSV); creates a new version",
        prefix="Prefix captions that lack the trigger word with it; creates a new version",
        trigger="Trigger word that every caption should contain; stored with the new version",
    )
    @app_commands.autocomplete(name=dataset_names)
    async def captions(
        interaction: Interaction,
        name: str,
        file: discord.Attachment | None = None,
        prefix: bool = False,
        trigger: str | None = None,
    ) -> None:
        if file is None and not prefix:
            await interaction.response.defer(ephemeral=True)
            await send_captions(interaction, service, name)
            return
        await interaction.response.defer(thinking=True)
        datasets, guild, by = service.datasets, guild_of(interaction), str(interaction.user.id)
        before = await in_thread(service.installation.datasets.find, guild, name)
        if file is None:
            stored = await datasets.edit(datasets.edits.prefix, guild, name, trigger=trigger, by=by)
        else:
            _check(file, is_prefixed=prefix)
            table = await file.read()
            stored = await datasets.edit(
                datasets.edits.recaption, guild, name, table, trigger=trigger, by=by
            )
        await show_stored(interaction, stored)
        if stored.is_new:
            refs = str(before.ref), str(stored.version.ref)
            await _send_difference(interaction, service, *refs, is_private=False)

    @group.command(name="diff", description="Show what changed between two versions")
    @app_commands.describe(
        old="Older version, such as annika@1", new="Newer version, such as annika@2"
    )
    @app_commands.autocomplete(old=dataset_names, new=dataset_names)
    async def diff(interaction: Interaction, old: str, new: str) -> None:
        await interaction.response.defer(ephemeral=True)
        await _send_difference(interaction, service, old, new, is_private=True)


def _check(file: discord.Attachment, *, is_prefixed: bool) -> None:
    if is_prefixed:
        raise RequestError(
            "file and prefix cannot be combined.",
            "Send the table first, then use prefix on the new version.",
        )
    if file.size > TABLE_LIMIT_BYTES:
        raise RequestError(
            f"{file.filename} is too large for a caption table.",
            "Send back the table that /dataset captions gives, as CSV.",
        )


async def _send_difference(
    interaction: Interaction, service: Service, old: str, new: str, *, is_private: bool
) -> None:
    found = await in_thread(
        service.installation.datasets.difference, guild_of(interaction), old, new
    )
    text = difference_text(*found)
    await interaction.followup.send(
        embed=to_embed(difference_card(*found)),
        file=discord.File(io.BytesIO(text.encode()), filename="difference.txt"),
        ephemeral=is_private,
    )
