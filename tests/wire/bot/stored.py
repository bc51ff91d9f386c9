"""Shared steps of dataset tests: read the installation, press buttons in chat."""

from bot.installation import Installation
from bot.sandbox.client import Message
from tests.wire.bot.chat import Chat
from training.registry.datasets import DatasetVersion


def versions(local: Installation, name: str = "annika") -> list[DatasetVersion]:
    guilds = [guild for guild in local.guilds() if local.datasets.names(guild)]
    return [v for guild in guilds for v in local.datasets.versions(guild, name)]


def captions(local: Installation, reference: str) -> dict[str, str]:
    (guild,) = (guild for guild in local.guilds() if local.datasets.names(guild))
    report = local.datasets.report(guild, local.datasets.find(guild, reference))
    return {sample.name: sample.caption for sample in report.samples}


async def press(chat: Chat, message: Message, label: str) -> Message:
    return await chat.user.reply(await chat.user.press(message, label), timeout=120)
