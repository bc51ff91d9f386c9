"""Scripted users of the sandbox, and a transcript of their conversation."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from rich.console import Console

from bot.messages.card import Colour
from bot.messages.datasets.cards import PROGRESS
from bot.sandbox.client import InteractionResult, Message, Option, SandboxUser
from bot.service.threads import in_thread
from training.errors import TrainingError

TEAM_ROLE = "lora-team"
_REPLY_SECONDS = 60.0
_RUN_SECONDS = 300.0
_MARKUP = re.compile(r"[*`]|\(http[^)]*\)")


class Person:
    """A user of the sandbox. Records what they type and what they read."""

    def __init__(self, page_url: str, name: str, guild: str, console: Console) -> None:
        self._user = SandboxUser(page_url, user=name, guild=guild)
        self._name, self._guild = name, guild
        self._console = console
        self._channel = ""
        self.lines: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._user.aclose()

    async def type(self, command: str, **options: Option) -> Message:
        """Type a slash command and return the bot's answer.

        Raises:
            TrainingError: The bot refused the command.
        """
        given = {name.replace("_", "-"): value for name, value in options.items()}
        self._say(self._name, f"/{command} {_typed(given)}".rstrip())
        interaction = await self._user.command(command, given)
        answer = await answer_to(self._user, interaction)
        self._channel = interaction.channel_id
        self._write(answer.author, answer.text)
        self._console.print(f"    {_first_line(answer)}", markup=False, style="dim")
        if not answer.embeds or answer.embeds[0].get("color") == Colour.BAD:
            raise TrainingError(f"/{command} was refused.", answer.text)
        return answer

    async def pick(self, message: Message, menu: str, value: str) -> Message:
        """Choose a value in a message's menu and return the bot's answer."""
        self._say(self._name, f"picks {value} in the menu")
        interaction = await self._user.select(message, menu, [value])
        answer = await self._user.reply(interaction, timeout=_REPLY_SECONDS)
        self._write(answer.author, answer.text)
        return answer

    async def until_ended(self, run: str) -> Message:
        """Wait until a run ends and return its final card.

        Raises:
            TrainingError: The run did not succeed.
        """

        def is_ping(message: Message) -> bool:
            is_here = message.channel_id == self._channel
            return is_here and bool(message.mentions) and f" {run} " in message.content

        ping = await self._user.wait_for(is_ping, timeout=_RUN_SECONDS)
        told = _with_names(ping)
        self._write(ping.author, told)
        self._console.print(f"    {told}", markup=False, style="dim")
        card = await self._user.wait_for(
            lambda message: message.channel_id == self._channel and is_card(message, run),
            timeout=10,
        )
        self._write(f"{card.author} (the run's card)", card.text)
        if "succeeded" not in ping.content:
            raise TrainingError(f"{run} did not succeed.", card.text)
        return card

    async def download(self, url: str, target: Path) -> None:
        data = await self._user.download(url)
        await in_thread(target.write_bytes, data)

    def _say(self, who: str, text: str) -> None:
        self._write(who, text)
        self._console.print(f"[bold]{who}[/] ({self._guild})  [cyan]{text}[/]")

    def _write(self, who: str, text: str) -> None:
        indented = "\n    ".join(text.splitlines())
        self.lines.append(f"{who} in {self._guild}:\n    {indented}\n")


async def answer_to(user: SandboxUser, interaction: InteractionResult) -> Message:
    """Return the answer to a command, skipping the progress shown before it on a busy machine."""
    answer = await user.reply(interaction, timeout=_REPLY_SECONDS)
    if not answer.content.startswith(PROGRESS):
        return answer
    return await user.wait_for(
        lambda m: m.id == answer.id and not m.content.startswith(PROGRESS), _REPLY_SECONDS
    )


def is_card(message: Message, run: str) -> bool:
    """Return whether a message is the public card of a run."""
    return not message.ephemeral and message.title.startswith(f"{run}:")


def epochs_of(message: Message) -> list[tuple[str, str]]:
    """Return (menu, value) for each epoch offered in the answer to `/download`."""
    menus = message.selects.items()
    return [(menu, option["value"]) for menu, shown in menus for option in shown["options"]]


def links_of(message: Message) -> list[str]:
    """Return the links to single checkpoints in an answer."""
    return [url for url in re.findall(r"\((http[^)]*)\)", message.text) if "/d/" in url]


def _with_names(message: Message) -> str:
    """Return a message's text, with the names of mentioned users instead of their ids."""
    text = re.sub(r"<@&\d+>", f"@{TEAM_ROLE}", message.content)
    names = iter(message.mentions)
    return re.sub(r"<@\d+>", lambda _match: f"@{next(names)}", text)


def _typed(options: Mapping[str, Option]) -> str:
    shown = {k: v.name if isinstance(v, Path) else v for k, v in options.items()}
    return " ".join(f"{name}:{value}" for name, value in shown.items())


def _first_line(message: Message) -> str:
    lines = [line for line in _MARKUP.sub("", message.text).splitlines() if line.strip()]
    return " · ".join(lines[:2]) if lines else "(a file)"
