"""Answers buttons, menus and dialogs that no part of the bot handles any more."""

import discord

from bot.discord.answers.answers import Interaction, answer_error
from bot.discord.buttons.datasets import DatasetButton
from bot.discord.buttons.downloads import EpochMenu, RevokeLinksButton
from bot.discord.buttons.help import HelpButton
from bot.discord.buttons.hub_token import HubTokenButton
from bot.discord.buttons.named_button import NamedItem
from bot.discord.buttons.plans import ClipsButton, PlanButton
from bot.discord.buttons.proposals import ProposalsButton
from bot.discord.buttons.run_pages import RunPageButton
from bot.discord.buttons.runs import RunButton
from bot.discord.buttons.storage import StorageButton, StorageMenu, StoragePageButton
from bot.discord.buttons.train import ModelMenu, TrainButton
from bot.discord.buttons.trash import UndoButton
from bot.discord.buttons.uploads import LargerButton, RevokeButton
from training.errors import RequestError

ITEMS: tuple[type[NamedItem], ...] = (
    *(RunButton, EpochMenu, RevokeLinksButton, DatasetButton, PlanButton),
    *(RevokeButton, LargerButton, UndoButton, HubTokenButton, RunPageButton, HelpButton),
    *(StoragePageButton, StorageMenu, StorageButton),
    *(ClipsButton, TrainButton, ModelMenu, ProposalsButton),
)
_WITH_CUSTOM_ID = (discord.InteractionType.component, discord.InteractionType.modal_submit)


def is_unknown(interaction: Interaction) -> bool:
    """Return whether the interaction has an id that belongs to no button or menu of the bot.

    The result is True for every dialog, because dialogs are not registered. The copy of the bot
    that opened the dialog may still handle it.
    """
    if interaction.type not in _WITH_CUSTOM_ID or interaction.data is None:
        return False
    custom_id = str(interaction.data.get("custom_id", ""))
    return not any(item.is_for(custom_id) for item in ITEMS)


async def answer_unknown(interaction: Interaction) -> None:
    """Tell the user that the button or dialog is out of date."""
    error = RequestError(
        "This button or dialog is from an older version of the bot, so nothing was done.",
        "Use a command instead: /runs lists the runs, /dataset list the datasets.",
    )
    await answer_error(interaction, error)
