"""A crowd of connections at once."""

import asyncio
import resource

from bot.web.app import create_app
from bot.web.server import Bounds, WebServer
from tests.unit.bot.web_side import Web, open_files


async def test_a_thousand_connections_are_bounded_and_the_bot_still_answers(web: Web) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # both ends are in this process
    server = WebServer(create_app(web.downloads))
    web.links.base_url = await server.start("127.0.0.1", 0)
    before = open_files()
    clients: list[asyncio.StreamWriter] = []
    try:
        for _ in range(1000):
            clients.append((await asyncio.open_connection("127.0.0.1", server.port))[1])

        answer = await web.client.get(f"{server.base_url}/health")

        assert answer.status_code == 200
        assert open_files() - before - len(clients) <= Bounds().connections + 20
    finally:
        for writer in clients:
            writer.close()
        await asyncio.gather(*(one.wait_closed() for one in clients), return_exceptions=True)
        await server.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
