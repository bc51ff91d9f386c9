import asyncio
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

with warnings.catch_warnings():
    # The library imports `audioop`, which Python 3.13 drops, for voice alone.
    warnings.simplefilter("ignore", DeprecationWarning)
    from sandbox_bot import TinyBot, running_bot

from sandbox_raw import RawBot, Watch

from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def server(tmp_path: Path, watch: Watch) -> AsyncIterator[SandboxServer]:
    sandbox = SandboxServer(tmp_path / "home", clock=watch)
    await sandbox.start()
    yield sandbox
    await sandbox.stop()
    assert sandbox.rest.mistakes == []


@pytest.fixture
async def bot(server: SandboxServer) -> AsyncIterator[TinyBot]:
    async with asyncio.timeout(60), running_bot(server) as bot:
        yield bot


@pytest.fixture
async def ada(server: SandboxServer) -> AsyncIterator[SandboxUser]:
    async with SandboxUser(server.page_url, user="Ada") as user:
        yield user


@pytest.fixture
async def ben(server: SandboxServer) -> AsyncIterator[SandboxUser]:
    async with SandboxUser(server.page_url, user="Ben") as user:
        yield user


@pytest.fixture
async def raw(server: SandboxServer) -> AsyncIterator[RawBot]:
    async with aiohttp.ClientSession() as http:
        yield RawBot(server, http)
