"""A server with its links, its store and a client."""

from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest_asyncio

from bot.service.downloads.links import LinkSigner
from bot.web.app import create_app
from bot.web.server import WebServer
from storage.local.store import FolderStore
from tests.unit.bot.web.web_side import BYTES, HIGH, LOW, Web


@pytest_asyncio.fixture
async def web(tmp_path: Path) -> AsyncGenerator[Web]:
    store = FolderStore(tmp_path / "home")
    links = LinkSigner(b"s" * 32, clock=lambda: found.now)
    server = WebServer(create_app(store, links))
    links.base_url = await server.start("127.0.0.1", 0)
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        found = Web(store, links, client)
        found.put(HIGH, BYTES)
        found.put(LOW, BYTES[::-1])
        found.record((HIGH, 50), (LOW, 50))
        yield found
    await server.stop()
