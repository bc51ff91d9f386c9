"""The button below `/settings`, which opens a dialog for the server's Hugging Face token."""

import re
from typing import Self

import discord

from bot.discord.answers.answers import answer, answer_error, person_of
from bot.discord.buttons.named_button import NamedButton, ServiceClient
from bot.discord.copies.interaction_claims import Claimed
from bot.messages.settings import TOKEN_LABEL, token_card
from bot.service.service import Service


class HubTokenButton(NamedButton, template=r"hub-token"):
    """Opens the dialog for the token."""

    def __init__(self) -> None:
        super().__init__(TOKEN_LABEL, discord.ButtonStyle.secondary, "hub-token")

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:  # noqa: ARG003  # its id has no parts
        return cls()

    async def callback(self, interaction: discord.Interaction) -> None:
        client = interaction.client
        if not isinstance(client, ServiceClient):
            raise TypeError("the button needs a ServiceClient")
        try:
            client.service.rights.require_manager(
                person_of(interaction), act="set the server's Hugging Face token"
            )
            await interaction.response.send_modal(_TokenDialog(client.service))
        except Exception as error:  # noqa: BLE001  # discord.py has no error hook for these items
            await answer_error(interaction, error)


class _TokenDialog(Claimed, discord.ui.Modal, title=TOKEN_LABEL):
    """A dialog for the token. A command option would not be safe: other members can see it."""

    token: discord.ui.TextInput[Self] = discord.ui.TextInput(
        label="Token with read access; leave empty to remove",
        placeholder="hf_…",
        required=False,
        max_length=120,
    )

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._service = service

    async def on_submit(self, interaction: discord.Interaction, /) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        is_set = await self._service.hub_tokens.set(person_of(interaction), self.token.value)
        await answer(interaction, token_card(is_set=is_set), ephemeral=True)

    async def on_error(self, interaction: discord.Interaction, error: Exception, /) -> None:
        await answer_error(interaction, error)
