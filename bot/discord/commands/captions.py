"""`/dataset captions` and `/dataset diff`: what a version says, and what changed since another."""

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

    @group.command(name="captions", description="The captions as a table; edit it and send it back")
    @app_commands.describe(
        name="Name of the dataset, or name@version",
        file="The edited table (CSV); makes a new version",
        prefix="Put the trigger word first in every caption that lacks it; makes a new version",
        trigger="A word that every caption should hold; kept with the new version",
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

    @group.command(name="diff", description="What changed from one version to another")
    @app_commands.describe(
        old="The earlier version, such as annika@1", new="The later one, such as annika@2"
    )
    @app_commands.autocomplete(old=dataset_names, new=dataset_names)
    async def diff(interaction: Interaction, old: str, new: str) -> None:
        await interaction.response.defer(ephemeral=True)
        await _send_difference(interaction, service, old, new, is_private=True)


def _check(file: discord.Attachment, *, is_prefixed: bool) -> None:
    if is_prefixed:
        raise RequestError(
            "An edited table and prefix are two changes.",
            "Send the table first, then use prefix on the version that it makes.",
        )
    if file.size > TABLE_LIMIT_BYTES:
        raise RequestError(
            f"{file.filename} is far too large for a table of captions.",
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
