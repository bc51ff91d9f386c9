"""Nothing in chat is handled without a claim."""

import importlib
import pkgutil
from collections.abc import Iterator

import discord
from discord import app_commands

import bot.discord
from bot.discord.copies.interaction_claims import Claimed

# The hooks that the library calls before it handles an interaction; subclasses override them.
HANDLERS: tuple[type, ...] = (
    app_commands.CommandTree,
    discord.ui.DynamicItem,
    discord.ui.LayoutView,
    discord.ui.Modal,
    discord.ui.View,
)


def subclasses(of: type) -> Iterator[type]:
    for found in of.__subclasses__():
        yield found
        yield from subclasses(found)


def test_everything_that_handles_interactions_claims_them_first() -> None:
    for module in pkgutil.iter_modules(bot.discord.__path__, "bot.discord."):
        importlib.import_module(module.name)
    found = {
        one.__name__: getattr(one, "interaction_check", None)
        for handler in HANDLERS
        for one in subclasses(handler)
        if one.__module__.startswith("bot.discord.")
    }

    assert {"ClaimedTree", "DatasetButton", "RunButton"} <= set(found)
    assert set(found.values()) == {Claimed.interaction_check}
