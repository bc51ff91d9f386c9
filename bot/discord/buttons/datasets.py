"""The buttons below a dataset or a checked upload, and what they do."""

import hashlib
import re
from typing import Literal, Self

import discord

from bot.discord.answers.answers import Interaction, answer, guild_of
from bot.discord.answers.dataset_answer import send_checked, send_stored, table_file
from bot.discord.answers.embed import to_embed
from bot.discord.answers.long_answer import LongAnswer
from bot.discord.buttons.named_button import NamedButton, ServiceClient
from bot.messages.check_text import captions_card
from bot.messages.removal_text import removal_card, removed_card
from bot.service.datasets import CheckedDataset, StoredDataset
from bot.service.service import Service
from bot.service.threads import in_thread
from training.dataset.report import Media
from training.errors import RequestError

Action = Literal[
    "repaired",
    "original",
    "prefix",
    "captions",
    "remove",
    "remove-now",
    "remove-all",
    "store",
    "store-original",
    "store-prefix",
]
_Style = discord.ButtonStyle
_LABELS: dict[Action, tuple[str, discord.ButtonStyle]] = {
    "repaired": ("Use as repaired", _Style.primary),
    "original": ("Keep original", _Style.secondary),
    "prefix": ("Prefix the trigger word", _Style.primary),
    "captions": ("Captions", _Style.secondary),
    "remove": ("Remove", _Style.danger),
    "remove-now": ("Remove for good", _Style.danger),
    "remove-all": ("Remove all of it for good", _Style.danger),
    "store": ("Use as repaired", _Style.success),
    "store-original": ("Keep original", _Style.secondary),
    "store-prefix": ("Use, with the trigger word prefixed", _Style.primary),
}
# The answer is for the user who pressed only.
_PRIVATE: frozenset[Action] = frozenset({"captions", "remove"})


class DatasetButton(
    NamedButton,
    template=r"ds:(?P<action>[a-z-]{4,14}):(?P<about>[a-z0-9_-]{1,64}(?:@\d{1,6})?):(?P<seal>\w{8})",
):
    """Acts on the dataset version or the checked upload that it names."""

    def __init__(self, action: Action, about: str, seal: str) -> None:
        super().__init__(*_LABELS[action], f"ds:{action}:{about}:{seal}")
        self._action: Action = action
        self._about, self._seal = about, seal
        self.is_private = action in _PRIVATE

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        action: Action = next(known for known in _LABELS if known == match["action"])
        return cls(action, match["about"], match["seal"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        _require_own(guild_of(interaction), self._about, self._seal)
        await _act(self._action, interaction, client.service, self._about)


def stored_buttons(guild: str, stored: StoredDataset) -> discord.ui.View:
    """Return the buttons for a stored version."""
    actions: list[Action] = []
    if stored.looked.needs_prefix:
        actions.append("prefix")
    if stored.version.media == "original":
        actions.append("repaired")
    elif stored.looked.can_keep_original:
        actions.append("original")
    return _buttons(guild, str(stored.version.ref), *actions, "captions", "remove")


def checked_buttons(guild: str, checked: CheckedDataset) -> discord.ui.View:
    """Return the buttons for a checked upload."""
    actions: list[Action] = []
    if (version := checked.version) is not None:
        # The button prefixes the version's own trigger; another one needs /dataset captions.
        if version.trigger and checked.looked.needs_prefix == version.trigger:
            actions.append("prefix")
        return _buttons(guild, str(version.ref), *actions, "captions", "remove")
    actions.append("store")
    if checked.looked.needs_prefix:
        actions.append("store-prefix")
    if checked.looked.can_keep_original:
        actions.append("store-original")
    return _buttons(guild, checked.token or "", *actions)


def _buttons(guild: str, about: str, *actions: Action) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for action in actions:
        view.add_item(DatasetButton(action, about, _sealed(guild, about)))
    return view


def _require_own(guild: str, about: str, seal: str) -> None:
    if seal != _sealed(guild, about):
        raise RequestError(
            "This button belongs to a dataset on another server.",
            "Use /dataset show for this server's datasets.",
        )


def _sealed(guild: str, about: str) -> str:
    """Return a hash that binds a button to its guild, wherever the message is forwarded."""
    return hashlib.sha256(f"{guild}/{about}".encode()).hexdigest()[:8]


async def show_stored(
    interaction: Interaction, stored: StoredDataset, long: LongAnswer | None = None
) -> None:
    """Answer with a stored version."""
    view = stored_buttons(guild_of(interaction), stored)
    filled = long or LongAnswer(interaction)
    await send_stored(filled, stored, view, is_known=not stored.is_new)


async def show_checked(interaction: Interaction, checked: CheckedDataset, long: LongAnswer) -> None:
    """Answer with a checked upload."""
    await send_checked(long, checked, checked_buttons(guild_of(interaction), checked))


async def send_captions(interaction: Interaction, service: Service, reference: str) -> None:
    """Send the captions of a version as a table, visible to the user only."""
    version, table = await in_thread(
        service.installation.datasets.captions, guild_of(interaction), reference
    )
    await interaction.followup.send(
        embed=to_embed(captions_card(version)),
        file=table_file(str(version.ref), table),
        ephemeral=True,
    )


async def ask_to_remove(interaction: Interaction, service: Service, reference: str) -> None:
    """Ask the user to confirm a removal, listing everything it deletes."""
    guild = guild_of(interaction)
    removal = await in_thread(service.datasets.removals.ask, guild, reference)
    # Names the newest version, so that one added after the question is not removed with it.
    action: Action = "remove-all" if removal.is_whole else "remove-now"
    await interaction.followup.send(
        embed=to_embed(removal_card(removal)),
        view=_buttons(guild, removal.newest, action),
        ephemeral=True,
    )


async def _act(action: Action, interaction: Interaction, service: Service, about: str) -> None:
    match action:
        case "captions":
            await send_captions(interaction, service, about)
        case "remove":
            await ask_to_remove(interaction, service, about)
        case "remove-now":
            removed = await in_thread(
                service.datasets.removals.remove, guild_of(interaction), about
            )
            await answer(interaction, removed_card(removed))
        case "remove-all":
            removed = await in_thread(
                service.datasets.removals.remove_all, guild_of(interaction), about
            )
            await answer(interaction, removed_card(removed))
        case _:
            await show_stored(interaction, await _stored(action, interaction, service, about))


async def _stored(
    action: Action, interaction: Interaction, service: Service, about: str
) -> StoredDataset:
    """Store the version that the button asks for."""
    datasets, guild, by = service.datasets, guild_of(interaction), str(interaction.user.id)
    media: Media = "original" if action.endswith("original") else "repaired"
    if action == "prefix":
        return await datasets.edit(datasets.edits.prefix, guild, about, trigger=None, by=by)
    if not action.startswith("store"):
        return await datasets.edit(datasets.edits.choose_media, guild, about, media, by=by)
    is_prefixed = action == "store-prefix"
    return await datasets.use_checked(guild, about, media=media, is_prefixed=is_prefixed, by=by)
