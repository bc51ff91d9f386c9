"""Buttons that carry what they act on in their id, and so work after a restart."""

import re
from typing import Self

import discord

from bot.discord.answers.answers import Interaction, answer_error
from bot.discord.copies.interaction_claims import Claimed, ClaimingClient
from bot.service.service import Service


class ServiceClient(ClaimingClient):
    """A client with the use cases that buttons call."""

    service: Service
    team_role: str | None

    async def show_run(self, guild: str, run: str) -> None:
        """Post or edit the card of a run."""
        raise NotImplementedError


class NamedButton(
    Claimed,
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"(?!)",  # matches nothing: only subclasses are registered
):
    """Base of buttons that are rebuilt from their id when they are pressed."""

    is_private = True  # whether only the user who presses sees the answer

    def __init__(self, label: str, style: discord.ButtonStyle, custom_id: str) -> None:
        super().__init__(
            discord.ui.Button[discord.ui.View](label=label, style=style, custom_id=custom_id)
        )

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        """Return the button whose id matched the template."""
        raise NotImplementedError

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        """Do what the button says and answer the deferred interaction."""
        raise NotImplementedError

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction,  # noqa: ARG003  # discord.py's signature
        item: discord.ui.Item[discord.ui.View],  # noqa: ARG003
        match: re.Match[str],
        /,
    ) -> Self:
        return cls.from_match(match)

    async def callback(self, interaction: discord.Interaction) -> None:
        client = interaction.client
        if not isinstance(client, ServiceClient):
            raise TypeError("the button belongs to a ServiceClient")
        await interaction.response.defer(ephemeral=self.is_private, thinking=True)
        try:
            await self.act(interaction, client)
        except Exception as error:  # noqa: BLE001  # discord.py has no error hook for these items
            await answer_error(interaction, error)
