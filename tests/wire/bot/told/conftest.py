"""A bot whose runs a test writes itself, on a clock that it advances."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import discord.state
import pytest

from bot.hosting.local import LocalInstallation
from bot.sandbox.connect import point_discord_at
from bot.sandbox.server import SandboxServer
from tests.advancing import AdvancingLoop
from tests.wire.bot.told.studio import Clock, Studio, installation


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, type[asyncio.AbstractEventLoop]]:
    return {"advancing": AdvancingLoop}


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    # The library sends its heartbeats from a thread, in real time: this loop's hours have none.
    endless = property(lambda _state: 1e6, lambda _state, _value: None)
    monkeypatch.setattr(discord.state.ConnectionState, "heartbeat_timeout", endless, raising=False)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, AdvancingLoop)
    return Clock(loop)


@pytest.fixture
async def server(tmp_path: Path, clock: Clock) -> AsyncIterator[SandboxServer]:
    sandbox = SandboxServer(tmp_path / "sandbox", clock=clock)
    sandbox.gateway.heartbeat_seconds = 1e6
    await sandbox.start()
    yield sandbox
    await sandbox.stop()
    assert sandbox.rest.mistakes == []


@pytest.fixture
def local(tmp_path: Path, clock: Clock) -> LocalInstallation:
    return installation(tmp_path / "home", clock)


@pytest.fixture
async def studio(
    server: SandboxServer, local: LocalInstallation, clock: Clock
) -> AsyncIterator[Studio]:
    with point_discord_at(server.base_url):
        found = Studio(server, local, clock)
        yield found
        await found.stop_bot()
