"""Receiving uploads on this machine: full disks, silent senders, and a server that stops."""

import asyncio
from contextlib import suppress

import pytest

from bot.service.uploads import sink
from bot.service.uploads.uploads import UploadLink
from bot.web.uploads import routes
from bot.web.uploads.protocol import CONTENT_TYPE
from tests.unit.bot.web.upload_side import DATA, GUILD, LocalSide, headers
from training.registry.uploads import files
from training.registry.uploads.sessions import UploadSessions


async def begin_patch(
    uploads: LocalSide, link: UploadLink, place: str, data: bytes, size: int = len(DATA)
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Announce all bytes from 1000 on, and send only some."""
    reader, writer = await asyncio.open_connection("127.0.0.1", uploads.port)
    cookie = "; ".join(f"{name}={value}" for name, value in uploads.client.cookies.items())
    asked = {**headers(link), "Host": "x", "Cookie": cookie, "Upload-Offset": "1000"}
    asked |= {"Content-Type": CONTENT_TYPE, "Content-Length": str(size - 1000)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in asked.items())
    writer.write(f"PATCH {place} HTTP/1.1\r\n{lines}\r\n".encode() + data)
    return reader, writer


async def test_a_refused_sender_is_cut_off_instead_of_sending_on_in_vain(
    uploads: LocalSide,
) -> None:
    link = await uploads.link()
    await uploads.open(link)
    size = 200 << 20
    place = (await uploads.create(link, "annika.zip", size)).headers["location"]
    _reader, writer = await begin_patch(uploads, link, place, b"", size)  # offset 1000 is wrong

    sent = 0
    with suppress(ConnectionError):
        while sent < size:
            writer.write(bytes(1 << 20))
            await writer.drain()
            sent += 1 << 20
    writer.close()

    assert sent < size // 2
    assert uploads.on_disk() == b""


async def test_a_full_disk_keeps_what_arrived_and_says_so(
    uploads: LocalSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, place = await uploads.begun()

    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(files.os, "writev", full)
        refused = await uploads.send(link, place, DATA[1000:], 1000)
    after = await uploads.offset(link, place)
    resumed = await uploads.send(link, place, DATA[1000:], 1000)

    assert refused.status_code == 507
    assert "The data received so far is kept" in refused.json()["cause"]
    assert (after, resumed.status_code) == (1000, 204)


async def test_a_sender_that_falls_silent_loses_nothing_that_arrived(
    uploads: LocalSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, place = await uploads.begun()
    monkeypatch.setattr(routes, "_SILENCE_SECONDS", 0.05)
    reader, writer = await begin_patch(uploads, link, place, DATA[1000:1500])

    status = (await reader.readline()).decode()
    writer.close()

    assert "503" in status
    assert await uploads.offset(link, place) == 1500


async def test_a_stopping_server_ends_uploads_and_keeps_what_arrived(
    uploads: LocalSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, place = await uploads.begun()
    monkeypatch.setattr(sink, "BLOCK_BYTES", 1)  # write each block at once
    reader, writer = await begin_patch(uploads, link, place, DATA[1000:3000])
    while len(uploads.on_disk()) < 3000:  # noqa: ASYNC110
        await asyncio.sleep(0.01)

    await uploads.app.shutdown()
    writer.write(DATA[3000:4000])
    status = (await reader.readline()).decode()
    writer.close()

    sessions = UploadSessions(uploads.installation.runtime.store)  # as the next process has it
    (file,) = sessions.files(sessions.find(GUILD, link.session)[0])
    assert "503" in status
    assert file.received_bytes == 4000
