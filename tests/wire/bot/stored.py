"""What the tests of datasets ask of the installation and press in the chat."""

from bot.hosting.local import LocalInstallation
from bot.sandbox.client.models import Message
from tests.wire.bot.chat import Chat
from training.registry.datasets import DatasetVersion


def versions(local: LocalInstallation) -> list[DatasetVersion]:
    guilds = [guild for guild in local.guilds() if local.datasets.names(guild)]
    return [v for guild in guilds for v in local.datasets.versions(guild, "annika")]


def captions(local: LocalInstallation, reference: str) -> dict[str, str]:
    (guild,) = (guild for guild in local.guilds() if local.datasets.names(guild))
    report = local.datasets.report(guild, local.datasets.find(guild, reference))
    return {sample.name: sample.caption for sample in report.samples}


async def press(chat: Chat, message: Message, label: str) -> Message:
    return await chat.user.reply(await chat.user.press(message, label), timeout=60)
