"""Messages with download links, a menu of all epochs, and a button that revokes the links."""

import io
import re
from collections.abc import Sequence
from typing import Self

import discord

from bot.discord.answers.answers import Interaction, answer, guild_of, person_of, to_embed
from bot.discord.buttons.named_button import NamedButton, NamedMenu, ServiceClient
from bot.messages.runs.downloads import (
    MOST_EPOCHS,
    EpochLinks,
    download_card,
    epoch_card,
    epoch_choice,
    revoked_links_card,
)
from bot.service.service import DownloadLinks, Service
from bot.service.threads import in_thread
from training.files.sizes import MIB

_CHOICES = 25  # Discord's limit for one menu
# Attachments are held in memory, so limit them even where Discord allows more (100 MiB on boosted
# servers). Larger files are available through links.
_MOST_ATTACHED_BYTES = 10 * MIB


class EpochMenu(NamedMenu, template=r"epochs:(?P<run>[a-z0-9_-]{1,64}):(?P<page>\d)"):
    """A menu that gives links to the checkpoints of the chosen epoch."""

    def __init__(self, run: str, page: int, epochs: Sequence[EpochLinks]) -> None:
        options: list[discord.SelectOption] = []
        for one in epochs:
            label, description = epoch_choice(one)
            value = str(one.epoch)
            options.append(discord.SelectOption(label=label, value=value, description=description))
        between = f" {epochs[-1].epoch} to {epochs[0].epoch}" if epochs else ""
        super().__init__(f"Checkpoints of epochs{between}", options, f"epochs:{run}:{page}")
        self._run = run

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(match["run"], int(match["page"]), ())

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        found = await client.service.links(guild_of(interaction), self._run)
        chosen = found.of_epoch(int(self.picked))
        files = await _small_files(interaction, client.service, found, chosen)
        embed = to_embed(epoch_card(self._run, chosen))
        await interaction.followup.send(embed=embed, files=files, ephemeral=True)


class RevokeLinksButton(NamedButton, template=r"revoke-links:(?P<run>[a-z0-9_-]{1,64})"):
    """Revokes all links made so far to a run's files."""

    def __init__(self, run: str) -> None:
        super().__init__("Revoke links", discord.ButtonStyle.secondary, f"revoke-links:{run}")
        self._run = run

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(match["run"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        await client.service.revoke_links(person_of(interaction), self._run)
        await answer(interaction, revoked_links_card(self._run), ephemeral=True)


async def send_links(interaction: Interaction, service: Service, run: str) -> None:
    """Send the user links to the checkpoints of a run, and a workflow."""
    found = await service.links(guild_of(interaction), run)
    card = download_card(found.view, found.epochs, found.newest, found.archive)
    name, data = found.workflow
    files = [discord.File(io.BytesIO(data), filename=name)]
    files += await _small_files(interaction, service, found, found.newest)
    items = discord.ui.View(timeout=None)
    if len(found.epochs) > 1:
        for first in range(0, min(len(found.epochs), MOST_EPOCHS), _CHOICES):
            part = found.epochs[first : first + _CHOICES]
            items.add_item(EpochMenu(run, first // _CHOICES, part))
    items.add_item(RevokeLinksButton(run))
    await interaction.followup.send(embed=to_embed(card), view=items, files=files, ephemeral=True)


async def _small_files(
    interaction: Interaction, service: Service, links: DownloadLinks, chosen: EpochLinks
) -> list[discord.File]:
    """Return an epoch's checkpoints as attachments; [] if they are too large or damaged."""
    limit_bytes = min(interaction.filesize_limit, _MOST_ATTACHED_BYTES)
    found = await in_thread(
        service.downloads.small_files, links.view.run, chosen.epoch, limit_bytes
    )
    return [discord.File(io.BytesIO(data), filename=name) for name, data in found]
