"""What connections may take: how many there are, how long they idle, memory and files of each."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bot.web.app import create_app
from bot.web.server import Bounds, WebServer
from tests.unit.bot.web_side import HIGH, LOW, Web, open_files

READERS = 200
_PAGE = os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def serving(web: Web, bounds: Bounds) -> AsyncGenerator[WebServer]:
    server = WebServer(create_app(web.downloads), bounds)
    web.links.base_url = await server.start("127.0.0.1", 0)
    yield server
    await server.stop()


async def connected(server: WebServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.port)


def request(link: str) -> bytes:
    return f"GET {urlsplit(link).path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server closes the connection."""
    async with asyncio.timeout(30):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def begin(server: WebServer, link: str) -> socket.socket:
    """Send a request and read nothing of its answer, not even into a buffer of this process."""
    reader = socket.create_connection(("127.0.0.1", server.port))
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.sendall(request(link))
    reader.setblocking(False)
    await asyncio.get_running_loop().sock_recv(reader, 1)
    return reader


async def test_a_connection_too_many_takes_the_place_of_the_longest_idle_one(web: Web) -> None:
    async with serving(web, Bounds(connections=3, requests=2)) as server:
        idle = [await connected(server) for _ in range(3)]
        for reader, writer in idle[1:]:
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")

        answer = await web.client.get(f"{server.base_url}/health")

        assert answer.status_code == 200
        assert await rest_of(idle[0][0]) == b""
        for _, writer in idle:
            writer.close()


async def test_requests_beyond_the_bound_are_asked_to_come_back(web: Web, tmp_path: Path) -> None:
    await web.put(HIGH, bytes(32 << 20))
    await web.record((HIGH, 60))
    link = web.link(HIGH)
    async with serving(web, Bounds(connections=8, requests=2)) as server:
        readers = [await begin(server, link) for _ in range(2)]

        refused = await web.client.get(f"{server.base_url}/health")
        for reader in readers:
            reader.close()

        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        async with asyncio.timeout(30):
            while (await web.client.get(f"{server.base_url}/health")).is_error:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # until the server has noticed that they left


@pytest.mark.parametrize("sent", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: a\r\n"])
async def test_a_connection_without_a_complete_request_is_closed(web: Web, sent: bytes) -> None:
    async with serving(web, Bounds(idle_seconds=0.2)) as server:
        reader, writer = await connected(server)
        writer.write(sent)

        assert b"200" not in await rest_of(reader)
        writer.close()


async def test_slow_readers_of_a_zip_take_next_to_no_memory_and_two_files_each(web: Web) -> None:
    for file in (HIGH, LOW):
        await web.put(file, bytes(32 << 20))
    await web.record((HIGH, 60), (LOW, 60))
    archive = web.archive()
    async with serving(web, Bounds()) as server:
        first = [await begin(server, archive) for _ in range(10)]  # whatever is loaded once
        memory, files = resident_bytes(), open_files()

        readers = [await begin(server, archive) for _ in range(READERS)]

        assert (resident_bytes() - memory) / READERS < 256 << 10
        # One of three is this side's; a few files may be opened for all readers.
        assert (open_files() - files) // READERS <= 3
        for reader in (*first, *readers):
            reader.close()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
