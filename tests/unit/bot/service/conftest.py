"""A server of files on this machine."""

from collections.abc import AsyncGenerator

import pytest_asyncio
from aiohttp import web

from tests.unit.bot.service.file_server import Files


@pytest_asyncio.fixture
async def files() -> AsyncGenerator[Files]:
    found = Files()
    app = web.Application()
    app.router.add_get("/{path:.*}", found.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()
