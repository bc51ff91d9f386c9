"""The button that undoes a removal."""

import re
from typing import Self, get_args

import discord

from bot.discord.answers.answers import Interaction, answer, person_of
from bot.discord.buttons.named_button import NamedButton, ServiceClient
from bot.messages.trash import restored_card
from training.registry.trash import REMOVAL_ID, Removal
from training.store_keys import TrashKind

_KINDS: tuple[TrashKind, ...] = get_args(TrashKind)


class UndoButton(
    NamedButton, template=rf"restore:(?P<what>{'|'.join(_KINDS)}):(?P<removal>{REMOVAL_ID})"
):
    """Undoes one removal. It works only on the server where the item was removed."""

    is_private = False

    def __init__(self, kind: TrashKind, removal_id: str) -> None:
        custom_id = f"restore:{kind}:{removal_id}"
        super().__init__("Undo", discord.ButtonStyle.secondary, custom_id)
        self._kind: TrashKind = kind
        self._removal = removal_id

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(next(kind for kind in _KINDS if kind == match["what"]), match["removal"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        person = person_of(interaction)
        restored = await client.service.trash.restore(person, self._kind, self._removal)
        await answer(interaction, restored_card(restored))


def undo_button(removal: Removal) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    view.add_item(UndoButton(removal.kind, removal.id))
    return view
