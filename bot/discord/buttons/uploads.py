"""Links to upload pages, and the buttons that hand them out and revoke them."""

import re
from typing import Self

import discord

from bot.discord.answers.answers import (
    Interaction,
    RefusedWithButtonsError,
    answer,
    person_of,
    to_embed,
)
from bot.discord.buttons.named_button import NamedButton, ServiceClient
from bot.messages.uploads import LARGER, import_card, link_card, revoked_card
from bot.service.service import Service
from bot.service.uploads.uploads import UploadLink
from training.files.sizes import MIB, size
from training.registry.uploads.session import DatasetTarget, UploadTarget


class RevokeButton(NamedButton, template=r"revoke:(?P<session>[0-9a-f]{16})"):
    """Revokes an upload link or stops an import, and deletes the files received so far."""

    def __init__(self, session: str, label: str = "Revoke") -> None:
        super().__init__(label, discord.ButtonStyle.secondary, f"revoke:{session}")
        self._session = session

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(match["session"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        await client.service.imports.revoke(person_of(interaction), self._session)
        await answer(interaction, revoked_card(), ephemeral=True)


class LargerButton(NamedButton, template=r"larger:(?P<session>[0-9a-f]{16})"):
    """Shows the upload link that was made when a file was refused for its size."""

    def __init__(self, session: str) -> None:
        super().__init__(LARGER, discord.ButtonStyle.primary, f"larger:{session}")
        self._session = session

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(match["session"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        link = await client.service.uploads.find_link(person_of(interaction), self._session)
        await send_link(interaction, client.service, link)


async def give_link(interaction: Interaction, service: Service, target: UploadTarget) -> None:
    """Make an upload link and show it only to the user."""
    person, channel = person_of(interaction), str(interaction.channel_id)
    link = await service.uploads.link(person, target, channel=channel)
    await send_link(interaction, service, link)


async def begin_import(
    interaction: Interaction, service: Service, target: DatasetTarget, url: str
) -> None:
    """Start importing files from a link, and tell the user what will happen."""
    person, channel = person_of(interaction), str(interaction.channel_id)
    session = await service.imports.begin(person, target, url, channel=channel)
    card = to_embed(import_card(session))
    await interaction.followup.send(embed=card, view=stop_button(session.id), ephemeral=True)


def stop_button(session: str) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    view.add_item(RevokeButton(session, "Stop"))
    return view


async def send_link(interaction: Interaction, service: Service, link: UploadLink) -> None:
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label="Open the upload page", url=link.url))
    view.add_item(RevokeButton(link.session))
    card = link_card(link.target, link.expires_at, service.uploads.limits)
    await interaction.followup.send(embed=to_embed(card), view=view, ephemeral=True)


async def require_chat_size(
    interaction: Interaction,
    service: Service,
    file: discord.Attachment,
    limit_mib: int,
    target: UploadTarget,
) -> None:
    """Refuse a file that is too large for chat, and offer a button that gives an upload link."""
    limit_bytes = limit_mib * MIB
    if file.size <= limit_bytes:
        return
    person, channel = person_of(interaction), str(interaction.channel_id)
    link = await service.uploads.link(person, target, channel=channel)
    view = discord.ui.View(timeout=None)
    view.add_item(LargerButton(link.session))
    cause = f"{file.filename} is {size(file.size)}; the limit in chat is {size(limit_bytes)}."
    most = size(service.uploads.limits.archive_bytes)
    raise RefusedWithButtonsError(
        cause, f"Press the button for a page that takes up to {most}.", view
    )
