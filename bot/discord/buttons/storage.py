"""The list of what takes up space, page by page, with a menu and buttons that remove items."""

import re
from collections.abc import Sequence
from typing import Literal, Self

import discord

from bot.discord.answers.answers import Interaction, answer, guild_of, person_of, to_embed
from bot.discord.buttons.named_button import NamedButton, NamedMenu, ServiceClient
from bot.discord.buttons.trash import undo_button
from bot.messages.card import Card
from bot.messages.storage import (
    ask_removal_card,
    ask_to_empty_card,
    can_be_removed,
    emptied_card,
    item_kind,
    item_name,
    item_removed_card,
    storage_card,
)
from bot.service.service import Service
from bot.service.threads import in_thread
from training.files.sizes import size
from training.operations.storage import StoredItem
from training.registry.trash import restorable_until

_PAGE = 10
_LONGEST = 100  # characters in an option of a menu
Act = Literal["ask-empty", "empty", "remove"]
_LABELS: dict[Act, tuple[str, discord.ButtonStyle]] = {
    "ask-empty": ("Empty now", discord.ButtonStyle.secondary),
    "empty": ("Delete for good", discord.ButtonStyle.danger),
    "remove": ("Remove it", discord.ButtonStyle.danger),
}


class StoragePageButton(NamedButton, template=r"storage:page:(?P<page>\d{1,6})"):
    """Replaces the list with another page of it."""

    is_in_place = True

    def __init__(self, label: str, page: int, *, is_off: bool = False) -> None:
        custom_id = f"storage:page:{page}"
        super().__init__(label, discord.ButtonStyle.secondary, custom_id, is_off=is_off)
        self._page = page

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls("", int(match["page"]))

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        card, view = await storage_page(client.service, guild_of(interaction), self._page)
        await interaction.edit_original_response(embed=to_embed(card), view=view)


class StorageMenu(NamedMenu, template=r"storage:menu"):
    """Asks whether to remove the chosen item."""

    def __init__(self, items: Sequence[StoredItem]) -> None:
        options = [
            discord.SelectOption(
                label=f"{item_name(item)}, {size(item.size_bytes)}",
                value=item.key,
                description=item_kind(item)[:_LONGEST],
            )
            for item in items
        ]
        super().__init__("Remove…", options, "storage:menu")

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:  # noqa: ARG003  # the id holds nothing
        return cls(())

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        service = client.service
        item = await service.storage.ask_to_remove(person_of(interaction), self.picked)
        until = restorable_until(service.installation.runtime.clock())
        card = ask_removal_card(item, until)
        await answer(
            interaction, card, ephemeral=True, view=_one(StorageButton("remove", item.key))
        )


class StorageButton(
    NamedButton, template=r"storage:(?P<act>ask-empty|empty|remove):(?P<key>[\w:@-]{0,84})"
):
    """Empties the trash, after asking for confirmation, or removes the item named in its id."""

    def __init__(self, act: Act, key: str = "") -> None:
        label, style = _LABELS[act]
        super().__init__(label, style, f"storage:{act}:{key}")
        self._act: Act = act
        self._key = key
        self.is_in_place = act != "ask-empty"

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(next(act for act in _LABELS if act == match["act"]), match["key"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        storage, person = client.service.storage, person_of(interaction)
        match self._act:
            case "ask-empty":
                card = ask_to_empty_card(await storage.ask_to_empty(person))
                view = _one(StorageButton("empty"))
                await answer(interaction, card, ephemeral=True, view=view)
            case "empty":
                freed = await storage.empty(person)
                use = await in_thread(client.service.installation.storage.use, person.guild)
                card = emptied_card(freed, use.trash)
                await interaction.edit_original_response(embed=to_embed(card), view=None)
            case "remove":
                item, removal = await storage.remove(person, self._key)
                view = undo_button(removal) if removal else None
                card = item_removed_card(item, removal)
                await interaction.edit_original_response(embed=to_embed(card), view=view)


async def storage_page(service: Service, guild: str, number: int) -> tuple[Card, discord.ui.View]:
    """Return a page of what takes up space, with a menu and buttons."""
    use = await in_thread(service.installation.storage.use, guild)
    last = max(len(use.items) - 1, 0) // _PAGE
    shown = min(max(number - 1, 0), last)
    page = use.items[shown * _PAGE : (shown + 1) * _PAGE]
    runtime = service.installation.runtime
    prices = (await in_thread(runtime.prices)).machine if runtime.is_billed else None
    view = discord.ui.View(timeout=None)
    if removable := [item for item in page if can_be_removed(item)]:
        view.add_item(StorageMenu(removable))
    if last:
        view.add_item(StoragePageButton("Previous", shown, is_off=shown == 0))
        view.add_item(StoragePageButton("Next", shown + 2, is_off=shown == last))
    if use.trash.files:
        view.add_item(StorageButton("ask-empty"))
    return storage_card(use, page, shown * _PAGE, _PAGE, prices), view


def _one(button: StorageButton) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    view.add_item(button)
    return view
