"""The real bot in a sandbox, and people who type to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.host import RunningBot, running_bot
from bot.messages.card import Colour
from bot.sandbox.connect import point_discord_at
from bot.sandbox.server import SandboxServer
from bot.sandbox.user import Option, SandboxUser
from bot.sandbox.user_models import Message
from bot.settings import Settings
from bot.wiring import LocalHouse
from tests.media import guide_files, write_zip

ROLE = "lora-team"


@dataclass(frozen=True)
class Chat:
    """One person in one channel of the sandbox."""

    user: SandboxUser

    async def ask(self, command: str, **options: Option) -> Message:
        """Type a command and return the answer."""
        given = {name.replace("_", "-"): value for name, value in options.items()}
        interaction = await self.user.command(command, given)
        assert interaction.status != "failed", "not acknowledged within 3 seconds"
        return await self.user.reply(interaction, timeout=60)

    async def refused(self, command: str, **options: Option) -> str:
        """Type a command that must be refused and return the sentence that says so."""
        answer = await self.ask(command, **options)
        assert answer.embeds, answer.text
        assert answer.embeds[0]["color"] == Colour.BAD
        assert "What to do" in answer.text
        return answer.text

    async def ping(self, run: str) -> Message:
        """Wait for the ping at the end of a run."""
        return await self.user.wait_for(
            lambda m: bool(m.mentions) and f" {run} " in m.content, timeout=120
        )

    async def card(
        self, run: str, fits: Callable[[Message], bool] = lambda _message: True
    ) -> Message:
        """Wait for the run's card as all see it, until it fits."""
        return await self.user.wait_for(
            lambda m: is_card(m, run) and fits(m),
            timeout=120,
        )


def is_card(message: Message, run: str) -> bool:
    """Return whether a message is the public card of a run."""
    titles = [str(embed.get("title", "")) for embed in message.embeds]
    return not message.ephemeral and any(title.startswith(f"{run}:") for title in titles)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SandboxServer]:
    sandbox = SandboxServer(tmp_path / "sandbox")
    await sandbox.start()
    yield sandbox
    await sandbox.stop()
    assert sandbox.rest.mistakes == []


@pytest.fixture
def local(tmp_path: Path) -> LocalHouse:
    return LocalHouse(Settings(home=tmp_path / "home", team_role=ROLE, upload_limit_mib=5))


@pytest.fixture
async def bot(server: SandboxServer, local: LocalHouse) -> AsyncIterator[RunningBot]:
    with point_discord_at(server.base_url):
        async with (
            asyncio.timeout(170),
            running_bot(
                local, token=server.bot_token, engine="rehearsal", edit_seconds=0.3
            ) as running,
        ):
            yield running
    await asyncio.to_thread(local.stop_worker)


@pytest.fixture
async def ada(server: SandboxServer, bot: RunningBot) -> AsyncIterator[Chat]:
    async with SandboxUser(server.page_url, user="Ada") as user:
        yield Chat(user)


@pytest.fixture
async def ben(server: SandboxServer, bot: RunningBot) -> AsyncIterator[Chat]:
    async with SandboxUser(server.page_url, user="Ben") as user:
        yield Chat(user)


@pytest.fixture
async def cleo_elsewhere(server: SandboxServer, bot: RunningBot) -> AsyncIterator[Chat]:
    async with SandboxUser(server.page_url, user="Cleo", guild="Studio B") as user:
        yield Chat(user)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset in the guide's layout."""
    path = tmp_path_factory.mktemp("dataset") / "annika.zip"
    return write_zip(path, guide_files(images=2, clips=1, frames=49))
