"""What people drive in a sandbox (commands, buttons, menus, dialogs), and how it is answered."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import discord
from discord import app_commands

from bot.discord.buttons.unknown_ids import ITEMS
from bot.sandbox.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, Interaction
from bot.sandbox.sandbox import Sandbox
from bot.sandbox.wire import ApiError, Json
from bot.sandbox.world.world import Change

Outcome = Literal["works", "refused", "forbidden"]
NOTHING: Mapping[str, str] = MappingProxyType({})
# Which test drives each item with success.
TABLE: Mapping[str, str] = tomllib.loads(Path(__file__).with_name("driven.toml").read_text("utf-8"))
_CHAT_INPUT = 1
_REFUSED = re.compile(r"That did not work|\d+ things? to fix|.*\(error `[0-9a-f]{8}`\)")
_FORBIDDEN = re.compile(r"belongs to somebody else|Only members |is for the person who")
# The part of an item's id that names what it does: a choice between words.
_ACTION = re.compile(r"\(\?P<(\w+)>([a-z-]+(?:\|[a-z-]+)+)\)")


class Driven:
    """Records each interaction that the bot answers, and how it answers: (item, outcome).

    `opened` has the titles of dialogs that are open already, by custom id.
    """

    def __init__(self, sandbox: Sandbox, opened: Mapping[str, str] = NOTHING) -> None:
        self.seen: set[tuple[str, Outcome]] = set()
        self._sandbox = sandbox
        self._titles = dict(opened)
        sandbox.changes.listeners.append(self._look)

    def _look(self, change: Change) -> None:
        if change.kind != "interaction":
            return
        interaction = self._sandbox.interactions.get(change.record["id"])
        if interaction.modal is not None:
            self._titles[interaction.modal["custom_id"]] = interaction.modal["title"]
        if interaction.type != AUTOCOMPLETE and interaction.status in ("answered", "modal"):
            outcome = _outcome([*self._answers(interaction)])
            self.seen.add((self._item(interaction), outcome))

    def _item(self, interaction: Interaction) -> str:
        data = interaction.data
        if interaction.type == COMMAND:
            return f"/{interaction.name}" if data["type"] == _CHAT_INPUT else interaction.name
        if interaction.type == COMPONENT:
            return _item_of(data["custom_id"])
        return f"dialog: {self._titles.get(data['custom_id'], '')}"

    def _answers(self, interaction: Interaction) -> Iterator[Json]:
        source = interaction.message["id"] if interaction.message else None
        for message in interaction.message_ids - {source}:
            try:
                yield self._sandbox.messages.find(message)
            except ApiError:  # deleted meanwhile
                continue


def commands(tree: app_commands.CommandTree[Any]) -> Iterator[str]:
    """Yield every command of the bot."""
    for command in tree.walk_commands():
        if not isinstance(command, app_commands.Group):
            yield f"/{command.qualified_name}"
    yield from (menu.name for menu in tree.get_commands(type=discord.AppCommandType.message))
    yield from (menu.name for menu in tree.get_commands(type=discord.AppCommandType.user))


def missed(driven: Driven, test: str) -> set[str]:
    """Return the items that the table says a test drives, but that the test did not drive.

    `test` is the id that pytest gave the test, such as `tests/wire/bot/test_a.py::test_b[c]`.
    """
    name = test.rpartition("/")[2].partition("[")[0]
    claimed = {item for item, its in TABLE.items() if its == name}
    return claimed - {item for item, outcome in driven.seen if outcome == "works"}


def _outcome(answers: list[Json]) -> Outcome:
    titles = [str(embed.get("title")) for one in answers for embed in one["embeds"]]
    if not any(map(_REFUSED.match, [*titles, *(one["content"] for one in answers)])):
        return "works"
    texts = [str(embed.get("description")) for one in answers for embed in one["embeds"]]
    return "forbidden" if any(map(_FORBIDDEN.search, texts)) else "refused"


def _item_of(custom_id: str) -> str:
    for kind in ITEMS:
        if found := kind.__discord_ui_compiled_template__.fullmatch(custom_id):
            action = _ACTION.search(found.re.pattern)
            return f"{kind.__name__}: {found[action[1]]}" if action else kind.__name__
    return custom_id


def buttons_and_menus() -> Iterator[str]:
    """Yield every button and menu of the bot, one for each thing that it can do."""
    for kind in ITEMS:
        action = _ACTION.search(kind.__discord_ui_compiled_template__.pattern)
        actions = action[2].split("|") if action else [""]
        yield from (f"{kind.__name__}: {one}" if one else kind.__name__ for one in actions)


def dialogs(kind: type[object] = discord.ui.Modal) -> Iterator[str]:
    """Yield every dialog of the bot."""
    for one in kind.__subclasses__():
        yield from dialogs(one)
        if one.__module__.startswith("bot."):
            yield f"dialog: {getattr(one, 'title', '')}"
