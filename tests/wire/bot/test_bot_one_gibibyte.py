"""A bot with 1 GiB, as deployed, takes everything at once that ever took its memory or files."""

import asyncio
import fcntl
import re
import resource
import socket
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from bot.sandbox import server as sandbox_server
from bot.sandbox.client import SandboxUser
from bot.sandbox.people import people
from bot.sandbox.server import SandboxServer
from bot.sandbox.world import attachments
from tests.adapters import tensors, widths, write_adapter
from tests.campaigns.operated import OperatedBot
from tests.campaigns.upload import Upload
from tests.many_runs import Crowd
from tests.media import guide_files, write_zip
from tests.memory_limit import MemoryLimit, can_limit_memory, memory_limit
from tests.wire.bot.chat import Chat

GIB, MIB = 1 << 30, 1 << 20
READERS, IDLE, ADDED_RANK, PART_BYTES = 200, 944, 144, 200 * MIB

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_limit_memory(), reason="limiting memory needs root and cgroups"),
]


@pytest.fixture
def large_attachments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let people attach files of 500 MiB, as the largest servers did."""
    for module in (people, attachments):
        monkeypatch.setattr(module, "MAX_FILE_BYTES", 500 * MIB)
    monkeypatch.setattr(sandbox_server, "MAX_REQUEST_BYTES", 500 * MIB)


@pytest.fixture
def limit() -> Iterator[MemoryLimit]:
    with memory_limit(GIB) as found:
        yield found


@asynccontextmanager
async def limited_bot(
    folder: Path, limit: MemoryLimit
) -> AsyncGenerator[tuple[SandboxServer, OperatedBot]]:
    """Run the bot, whose stages run elsewhere, as on Modal."""
    server = SandboxServer(folder / "sandbox")
    await server.start()
    bot = OperatedBot(server, folder / "home", folder / "bot.log", command=limit.command)
    (folder / "home/local").mkdir(parents=True)
    with (folder / "home/local/worker.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            await bot.start()
            yield server, bot
        finally:
            await bot.kill_all()
            await server.stop()


async def test_a_bot_with_one_gibibyte_survives_all_at_once(
    tmp_path: Path, limit: MemoryLimit, large_attachments: None
) -> None:
    large = write_adapter(
        tmp_path / "large.safetensors", tensors(widths("wan21-t2v-1-3b", "musubi"), rank=ADDED_RANK)
    )
    archive = write_zip(tmp_path / "annika.zip", guide_files(images=20, clips=4, frames=49))
    async with limited_bot(tmp_path, limit) as (server, bot), SandboxUser(server.page_url) as user:
        guild = str(next(iter(server.world.guilds)))
        crowd = Crowd(bot.home, guild, str(next(iter(server.world.users))))
        run = crowd.add_ended(1, str(server.world.channels_of(guild)[0]["id"]))
        crowd.add_checkpoints(run, PART_BYTES, epochs=2)
        ada = Chat(user)
        link = zip_link((await ada.ask("download", run_name=run.name)).text)
        before = limit.private_bytes()
        raise_file_limit()

        readers = await asyncio.to_thread(lambda: [begin(link) for _ in range(READERS)])
        idle = await asyncio.to_thread(lambda: [opened(link) for _ in range(IDLE)])
        adding = asyncio.create_task(ada.ask("checkpoint add", file=large, model="wan21-t2v-1-3b"))
        storing = asyncio.create_task(ada.ask("dataset add", name="annika", zip=archive))
        sending = asyncio.create_task(send(await upload_link(ada), archive))
        most = before
        while not (adding.done() and storing.done() and sending.done()):
            most = max(most, limit.private_bytes())
            await asyncio.sleep(0.05)
        listed = await ada.ask("runs")
        sys.stdout.write(f"{before / MIB:.0f} MiB before, {most / MIB:.0f} MiB at most\n")
        for connection in (*readers, *idle):
            connection.close()

        assert "large" in (await adding).text
        assert "annika@1" in (await storing).text
        assert await sending
        assert run.name in listed.text
        assert (limit.kills(), bot.is_up()) == (0, True)
        assert most < GIB, f"{most / MIB:.0f} MiB"
        assert "Too many open files" not in bot.said()


def raise_file_limit() -> None:
    """Let this process, which is all people at once, have more files open than the bot."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def zip_link(text: str) -> str:
    (link,) = set(re.findall(r"http://[^)\s]+/z/[^)\s]+", text))
    return link


async def upload_link(ada: Chat) -> str:
    answer = await ada.ask("dataset upload", name="berta")
    return next(str(one["url"]) for one in answer.buttons.values() if "url" in one)


async def send(link: str, archive: Path) -> bool:
    """Upload a zip; go on when the bot asks to come back."""
    data = await asyncio.to_thread(archive.read_bytes)
    async with httpx.AsyncClient(timeout=30.0) as http:
        upload = Upload(http, link, data)
        while True:
            with suppress(httpx.HTTPError):
                if await upload.go_on():
                    return True
            await asyncio.sleep(0.2)


def opened(link: str) -> socket.socket:
    parts = urlsplit(link)
    return socket.create_connection((parts.hostname, parts.port))


def begin(link: str) -> socket.socket:
    """Ask for a zip and read nothing of it."""
    reader = socket.create_connection((urlsplit(link).hostname, urlsplit(link).port))
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    path = urlsplit(link).path
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return reader
