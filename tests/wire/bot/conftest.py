"""The real bot in a sandbox, and people who type to it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.hosting.bot import RunningBot, running_bot
from bot.hosting.local import LocalInstallation
from bot.sandbox.client import SandboxUser
from bot.sandbox.connect import point_discord_at
from bot.sandbox.server import SandboxServer
from bot.service.imports.imports import ImportOptions
from bot.settings import Settings
from tests.media import guide_files, write_zip
from tests.wire.bot.chat import ROLE, Chat
from tests.wire.bot.copies import Copies
from tests.wire.bot.driven import Driven, missed
from training.files.locks import hold


@pytest.fixture
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[SandboxServer]:
    sandbox = SandboxServer(tmp_path / "sandbox")
    driven = Driven(sandbox)
    await sandbox.start()
    yield sandbox
    await sandbox.stop()
    assert sandbox.rest.mistakes == []
    assert missed(driven, request.node.nodeid) == set(), "driven.toml says that this test does it"


@pytest.fixture
def local(tmp_path: Path) -> LocalInstallation:
    return LocalInstallation(Settings(home=tmp_path / "home", team_role=ROLE, upload_limit_mib=5))


@pytest.fixture
def import_options() -> ImportOptions | None:
    """What imports may reach; a module that needs more overrides this."""
    return None


@pytest.fixture
async def bot(
    server: SandboxServer,
    local: LocalInstallation,
    request: pytest.FixtureRequest,
    import_options: ImportOptions | None,
) -> AsyncIterator[RunningBot]:
    with point_discord_at(server.base_url):
        async with (
            asyncio.timeout(_limit_seconds(request)),
            running_bot(
                local,
                token=server.bot_token,
                engine="rehearsal",
                edit_seconds=0.3,
                imports=import_options,
            ) as running,
        ):
            yield running
    await asyncio.to_thread(local.stop_worker)


def _limit_seconds(request: pytest.FixtureRequest) -> float:
    """Return somewhat less than pytest's limit for the test, so that a hung one ends cleanly."""
    marker = request.node.get_closest_marker("timeout")
    limit = marker.args[0] if marker else request.config.getini("timeout")
    return float(limit) - 10


@pytest.fixture
async def copies(
    server: SandboxServer, tmp_path: Path, import_options: ImportOptions | None
) -> AsyncIterator[Copies]:
    """Copies of the bot that a test starts itself."""
    with point_discord_at(server.base_url):
        found = Copies(server, tmp_path / "home", import_options)
        yield found
        await found.leave()


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


@pytest.fixture
def no_worker(local: LocalInstallation) -> Iterator[None]:
    """Hold the worker's lock as a running worker does, so that runs stay in the queue."""
    local.worker_lock.parent.mkdir(parents=True, exist_ok=True)
    with local.worker_lock.open("ab") as lock:
        assert hold(lock)
        yield


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset in the guide's layout."""
    path = tmp_path_factory.mktemp("dataset") / "annika.zip"
    return write_zip(path, guide_files(images=2, clips=1, frames=49))
