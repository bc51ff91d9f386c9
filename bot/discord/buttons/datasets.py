"""The buttons below a dataset; what they are about is in their ids: they survive a restart."""

import hashlib
import re
from typing import Literal, Self

import discord

from bot.discord.answers.answers import Interaction, answer, answer_error, guild_of
from bot.discord.answers.dataset_answer import send_checked, send_stored, table_file
from bot.discord.answers.embed import to_embed
from bot.discord.answers.long_answer import LongAnswer
from bot.discord.buttons.runs import ServiceClient
from bot.discord.copies.interaction_claims import Claimed
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
# What only the one who presses needs to see.
_PRIVATE: frozenset[Action] = frozenset({"captions", "remove"})


class DatasetButton(
    Claimed,
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"ds:(?P<action>[a-z-]{4,14}):(?P<about>[a-z0-9_-]{1,64}(?:@\d{1,6})?):(?P<seal>\w{8})",
):
    """Does one thing with the version or the checked upload that it names."""

    def __init__(self, action: Action, about: str, seal: str) -> None:
        label, style = _LABELS[action]
        custom_id = f"ds:{action}:{about}:{seal}"
        super().__init__(
            discord.ui.Button[discord.ui.View](label=label, style=style, custom_id=custom_id)
        )
        self._action: Action = action
        self._about, self._seal = about, seal

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction,  # noqa: ARG003  # discord.py's signature
        item: discord.ui.Item[discord.ui.View],  # noqa: ARG003
        match: re.Match[str],
        /,
    ) -> Self:
        """Return the button that a press on an old message means."""
        action: Action = next(known for known in _LABELS if known == match["action"])
        return cls(action, match["about"], match["seal"])

    async def callback(self, interaction: discord.Interaction) -> None:
        """Do it, and tell whoever pressed."""
        client = interaction.client
        if not isinstance(client, ServiceClient):
            raise TypeError("the button belongs to a ServiceClient")
        await interaction.response.defer(ephemeral=self._action in _PRIVATE, thinking=True)
        try:
            _require_own(guild_of(interaction), self._about, self._seal)
            await _act(self._action, interaction, client.service, self._about)
        except Exception as error:  # noqa: BLE001  # discord.py has no error hook for these items
            await answer_error(interaction, error)


def stored_buttons(guild: str, stored: StoredDataset) -> discord.ui.View:
    """Return what can be done with a stored version."""
    actions: list[Action] = []
    if stored.looked.needs_prefix:
        actions.append("prefix")
    if stored.version.media == "original":
        actions.append("repaired")
    elif stored.looked.can_keep_original:
        actions.append("original")
    return _buttons(guild, str(stored.version.ref), *actions, "captions", "remove")


def checked_buttons(guild: str, checked: CheckedDataset) -> discord.ui.View:
    """Return what can be done with a set that was looked at."""
    actions: list[Action] = []
    if (version := checked.version) is not None:
        # The button puts the version's own word first; another one goes with /dataset captions.
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
            "This button belongs to a dataset of another server.",
            "Use /dataset show for the datasets of this one.",
        )


def _sealed(guild: str, about: str) -> str:
    """Return what binds a button to its guild, whichever message it is pressed on."""
    return hashlib.sha256(f"{guild}/{about}".encode()).hexdigest()[:8]


async def show_stored(
    interaction: Interaction, stored: StoredDataset, long: LongAnswer | None = None
) -> None:
    """Answer with a version that was to be stored."""
    view = stored_buttons(guild_of(interaction), stored)
    filled = long or LongAnswer(interaction)
    await send_stored(filled, stored, view, is_known=not stored.is_new)


async def show_checked(interaction: Interaction, checked: CheckedDataset, long: LongAnswer) -> None:
    """Answer with a set that was looked at."""
    await send_checked(long, checked, checked_buttons(guild_of(interaction), checked))


async def send_captions(interaction: Interaction, service: Service, reference: str) -> None:
    """Send the captions of a version as a table, to whoever asked."""
    version, table = await in_thread(
        service.installation.datasets.captions, guild_of(interaction), reference
    )
    await interaction.followup.send(
        embed=to_embed(captions_card(version)),
        file=table_file(str(version.ref), table),
        ephemeral=True,
    )


async def ask_to_remove(interaction: Interaction, service: Service, reference: str) -> None:
    """Ask whoever wants something removed, naming what would go with it."""
    guild = guild_of(interaction)
    removal = await in_thread(service.datasets.removals.ask, guild, reference)
    # The newest version goes along: one that comes after the question is not removed with it.
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
    """Store the version that a button asks for."""
    datasets, guild, by = service.datasets, guild_of(interaction), str(interaction.user.id)
    media: Media = "original" if action.endswith("original") else "repaired"
    if action == "prefix":
        return await datasets.edit(datasets.edits.prefix, guild, about, trigger=None, by=by)
    if not action.startswith("store"):
        return await datasets.edit(datasets.edits.choose_media, guild, about, media, by=by)
    is_prefixed = action == "store-prefix"
    return await datasets.use_checked(guild, about, media=media, is_prefixed=is_prefixed, by=by)
