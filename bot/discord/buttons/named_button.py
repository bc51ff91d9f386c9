"""Buttons and menus that still work after a restart, because their ids name what they act on."""

import re
from typing import Any, Self

import discord

from bot.discord.answers.answers import Interaction, answer_error
from bot.discord.copies.interaction_claims import Claimed, ClaimingClient
from bot.service.service import Service


class ServiceClient(ClaimingClient):
    """A client with the service that buttons call."""

    service: Service

    async def show_run(self, guild: str, run: str) -> None:
        raise NotImplementedError


class NamedItem(
    Claimed,
    discord.ui.DynamicItem[discord.ui.Item[Any]],
    template=r"(?!)",  # matches nothing: only subclasses are registered
):
    """Base class of buttons and menus that are rebuilt from their id when they are used."""

    is_private = True  # whether only the user who uses the item sees the answer
    is_in_place = False  # whether the answer replaces the message that the item belongs to

    @classmethod
    def is_for(cls, custom_id: str) -> bool:
        """Return whether a custom id belongs to an item of this class."""
        return cls.__discord_ui_compiled_template__.fullmatch(custom_id) is not None

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        raise NotImplementedError

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        """Carry out the item's action and answer the deferred interaction."""
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
            raise TypeError("the item needs a ServiceClient")
        if self.is_in_place:
            await interaction.response.defer()
        else:
            await interaction.response.defer(ephemeral=self.is_private, thinking=True)
        try:
            await self.act(interaction, client)
        except Exception as error:  # noqa: BLE001  # discord.py has no error hook for these items
            await answer_error(interaction, error)


class NamedButton(NamedItem, template=r"(?!)"):
    """Base class of buttons that are rebuilt from their id."""

    def __init__(
        self, label: str, style: discord.ButtonStyle, custom_id: str, *, is_off: bool = False
    ) -> None:
        super().__init__(
            discord.ui.Button[discord.ui.View](
                label=label, style=style, custom_id=custom_id, disabled=is_off
            )
        )


class NamedMenu(NamedItem, template=r"(?!)"):
    """Base class of single-choice menus that are rebuilt from their id."""

    def __init__(
        self, placeholder: str, options: list[discord.SelectOption], custom_id: str
    ) -> None:
        self._menu = discord.ui.Select[discord.ui.View](
            placeholder=placeholder, options=options, custom_id=custom_id
        )
        super().__init__(self._menu)

    @property
    def picked(self) -> str:
        return self._menu.values[0]
