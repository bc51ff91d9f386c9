"""`/dataset captions` and `/dataset diff`."""

from functools import partial

import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, guild_of, person_of, to_embed
from bot.discord.answers.attachment_file import read_attachment
from bot.discord.answers.long_answer import LongAnswer
from bot.discord.buttons.datasets import discord_files, send_answer, send_privately
from bot.discord.buttons.proposals import answer_proposals
from bot.discord.commands.completion import Complete
from bot.discord.commands.options import DATASET
from bot.messages.datasets.cards import LARGE_TABLE
from bot.service.answer_files import FILE_LIMIT_BYTES
from bot.service.dataset_answers import (
    MakeLink,
    added_answer,
    captions_answer,
    difference_answer,
    stored_answer,
    waiting_table_answer,
)
from bot.service.service import Service
from bot.service.threads import in_thread
from training.captioning.propose import Which
from training.captioning.templates import LoraKind
from training.errors import RequestError
from training.files.sizes import size
from training.registry.dataset_draft import TriggerChange


def add_caption_commands(
    group: app_commands.Group, service: Service, dataset_names: Complete
) -> None:
    """Add the commands that read, edit and compare captions."""

    @group.command(
        name="captions",
        description="Write captions on a page or in a table, or send it back",
    )
    @app_commands.describe(
        name=DATASET,
        file="The edited table (CSV); creates a new version",
        prefix="Prefix the trigger word to captions that lack it; creates a new version",
        trigger="Trigger word that every caption should contain; stored with the new version",
        replaces="Old trigger word to replace with the new one in every caption",
    )
    @app_commands.autocomplete(name=dataset_names)
    async def captions(
        interaction: Interaction,
        name: str,
        file: discord.Attachment | None = None,
        prefix: bool = False,
        trigger: str | None = None,
        replaces: str | None = None,
    ) -> None:
        change = TriggerChange(trigger, replaces, prefix)
        is_private = file is None and not change.edits_captions
        await interaction.response.defer(ephemeral=is_private, thinking=True)
        datasets, person = service.datasets, person_of(interaction)
        guild, by = person.guild, person.id
        if file is not None:
            _check(file, is_alone=not change.edits_captions)
        if (token := await datasets.waiting(guild, name)) is not None:
            await _about_waiting(interaction, service, token, file, change)
            return
        if is_private:
            make_link = _link_maker(interaction, service)
            shown = await captions_answer(datasets, person, name, make_link)
            await send_privately(interaction, shown)
            return
        before = await in_thread(service.installation.datasets.find, guild, name)
        if file is None:
            stored = await datasets.edit(datasets.edits.set_trigger, person, name, change, by=by)
        else:
            table = await read_attachment(file)
            stored = await datasets.edit(
                datasets.edits.recaption, person, name, table, trigger=trigger, by=by
            )
        await send_answer(LongAnswer(interaction), guild, await stored_answer(stored))
        if stored.is_new:
            refs = str(before.ref), str(stored.version.ref)
            await _send_difference(interaction, service, *refs, is_private=False)

    _add_caption(group, service, dataset_names)

    @group.command(name="diff", description="Show what changed between two versions")
    @app_commands.describe(
        old="Older version, such as annika@1", new="Newer version, such as annika@2"
    )
    @app_commands.autocomplete(old=dataset_names, new=dataset_names)
    async def diff(interaction: Interaction, old: str, new: str) -> None:
        await interaction.response.defer(ephemeral=True)
        await _send_difference(interaction, service, old, new, is_private=True)


def _add_caption(group: app_commands.Group, service: Service, dataset_names: Complete) -> None:
    @group.command(name="caption", description="Propose captions; a person decides on each")
    @app_commands.describe(
        name=DATASET,
        which="Samples that lack a caption, or all; captions are never replaced by themselves",
        kind="What the LoRA is to learn: captions leave that out and describe the rest",
    )
    @app_commands.rename(kind="for")
    @app_commands.autocomplete(name=dataset_names)
    async def caption(
        interaction: Interaction,
        name: str,
        which: Which = "missing",
        kind: LoraKind = "character",
    ) -> None:
        await interaction.response.defer(thinking=True)
        plan = await service.proposals.plan(person_of(interaction), name, which, kind)
        await answer_proposals(interaction, service, plan)


async def _about_waiting(
    interaction: Interaction,
    service: Service,
    token: str,
    file: discord.Attachment | None,
    trigger: TriggerChange,
) -> None:
    """Send the caption table of an upload that lacks captions, or apply the user's changes."""
    datasets, person = service.datasets, person_of(interaction)
    if file is not None:
        table = await read_attachment(file)
        added = await datasets.write_captions(person, token, table, trigger=trigger.word)
    elif trigger == TriggerChange():
        make_link = _link_maker(interaction, service)
        shown = await waiting_table_answer(datasets, person, token, make_link)
        await send_privately(interaction, shown)
        return
    else:
        added = await datasets.set_trigger(person, token, trigger)
    await send_answer(LongAnswer(interaction), person.guild, await added_answer(added))


def _check(file: discord.Attachment, *, is_alone: bool) -> None:
    if not is_alone:
        raise RequestError(
            "A table cannot be combined with prefix or replaces.",
            "Send the table first, then use prefix or replaces on the new version.",
        )
    if file.size > FILE_LIMIT_BYTES:
        raise RequestError(
            f"{file.filename} is {size(file.size)}; the limit for a caption table in chat is "
            f"{size(FILE_LIMIT_BYTES)}.",
            LARGE_TABLE,
        )


def _link_maker(interaction: Interaction, service: Service) -> MakeLink:
    """Return what makes links to caption pages, whose new versions are announced here."""
    return partial(service.captions.link, channel=str(interaction.channel_id))


async def _send_difference(
    interaction: Interaction, service: Service, old: str, new: str, *, is_private: bool
) -> None:
    shown = await difference_answer(service.datasets, guild_of(interaction), old, new)
    await interaction.followup.send(
        embed=to_embed(shown.card), files=discord_files(shown.files), ephemeral=is_private
    )
