"""Downloads from the deployed bot: read in parts from its mount, which stays free to reload."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.damage import flip_a_bit
from tests.wire.modal.counting import counted
from tests.wire.modal.hosting import Hosting, hosting

pytestmark = pytest.mark.asyncio(loop_scope="module")
LARGE = random.Random(4).randbytes(48 << 20)  # more than connections and proxies hold
BEGUN = _BLOCK = 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hosted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hosting]:
    async with hosting(tmp_path_factory.mktemp("downloads")) as found:
        await asyncio.to_thread(found.start)
        yield found


class Reader:
    """Someone who reads an answer slowly."""

    def __init__(self, url: str) -> None:
        self._url = httpx.URL(url)
        self.received = bytearray()

    async def begin(self) -> None:
        """Ask, and read the first MiB of the answer."""
        taken = socket.socket()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        taken.setblocking(False)
        place = (self._url.host, self._url.port or 80)
        await asyncio.get_running_loop().sock_connect(taken, place)
        self._reader, self._writer = await asyncio.open_connection(sock=taken, limit=65_536)
        host = f"{self._url.host}:{self._url.port}"
        asked = f"GET {self._url.raw_path.decode()} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        self._writer.write(asked.encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head
        lines = head.decode().lower().split("\r\n")
        (self.etag,) = [line.partition(": ")[2] for line in lines if line.startswith("etag")]
        self.received += await self._reader.readexactly(BEGUN)

    async def finish(self) -> bytes:
        """Read the rest, until the answer is complete or cut off, and return all of it."""
        async with asyncio.timeout(60):
            with suppress(ConnectionResetError):
                while len(self.received) < len(LARGE) and (
                    block := await self._reader.read(_BLOCK)
                ):
                    self.received += block
        self._writer.close()
        return bytes(self.received)


async def link(hosted: Hosting, name: str, content: bytes = LARGE) -> tuple[str, str]:
    """Store a run with one checkpoint; return its link and its key."""
    key = await asyncio.to_thread(hosted.add_trained_run, name, content)
    signer = await asyncio.to_thread(hosted.signer)
    return signer.link(hosted.guild, name, key.partition(f"/{name}/")[2]), key


async def resume(http: httpx.AsyncClient, url: str, headers: Mapping[str, str]) -> httpx.Response:
    """Ask until an answer is complete, as browsers do: a reload of the mount may cut one off."""
    while True:
        with suppress(httpx.RemoteProtocolError):
            return await http.get(url, headers=headers)


async def replace(hosted: Hosting, key: str, content: bytes) -> None:
    # Modal tells versions apart by size and time, and keeps whole seconds.
    await asyncio.sleep(1.1)
    await asyncio.to_thread(hosted.runtime.runtime.store.write, key, content)


async def test_a_download_goes_on_while_the_mount_is_reloaded_for_other_files(
    hosted: Hosting,
) -> None:
    slow = Reader((await link(hosted, "slow"))[0])
    await slow.begin()

    with counted(hosted.loopback) as asked:
        async with httpx.AsyncClient() as http:
            for name in ("new-1", "new-2"):
                content = name.encode() * 10_000
                answer = await http.get((await link(hosted, name, content))[0])
                assert (answer.status_code, answer.content) == (200, content)

    assert asked["Bot"]["VolumeReload"] == 2
    assert len(slow.received) == BEGUN
    assert await slow.finish() == LARGE


async def test_the_first_bytes_come_before_the_file_is_read_and_nothing_is_copied(
    hosted: Hosting, tmp_path: Path
) -> None:
    url, key = await link(hosted, "damaged")
    damaged = tmp_path / "damaged"
    await asyncio.to_thread(damaged.write_bytes, LARGE)
    await asyncio.to_thread(flip_a_bit, damaged)
    await replace(hosted, key, await asyncio.to_thread(damaged.read_bytes))
    reader = Reader(url)

    await reader.begin()
    received = await reader.finish()
    async with httpx.AsyncClient() as http:
        again = await http.get(url)

    assert BEGUN <= len(received) < len(LARGE)  # the checksum shows only at the end
    assert (again.status_code, "is damaged" in again.text) == (404, True)
    (container,) = hosted.bots()
    assert not [path for path in container.root.rglob("damaged-e1*") if "mnt" not in path.parts]


async def test_a_file_replaced_during_its_download_is_never_mixed_with_the_old_one(
    hosted: Hosting,
) -> None:
    url, key = await link(hosted, "replaced")
    reader, new = Reader(url), LARGE[::-1]
    await reader.begin()

    await replace(hosted, key, new)
    await asyncio.to_thread(hosted.add_trained_run, "replaced", new)
    async with httpx.AsyncClient(timeout=60) as http:
        await http.get((await link(hosted, "another", b"x"))[0])  # reloads the mount
        received = await reader.finish()
        resumed = {"Range": f"bytes={len(received)}-", "If-Range": reader.etag}
        rest = await resume(http, url, resumed)

    assert len(received) < len(LARGE)
    assert received == LARGE[: len(received)]
    assert (rest.status_code, rest.content) == (200, new)  # from its beginning
    assert rest.headers["etag"] != reader.etag


async def test_a_file_removed_during_its_download_ends_it_and_is_then_refused(
    hosted: Hosting,
) -> None:
    url, key = await link(hosted, "removed")
    reader = Reader(url)
    await reader.begin()

    await asyncio.to_thread(hosted.runtime.runtime.store.delete, key)
    async with httpx.AsyncClient() as http:
        await http.get((await link(hosted, "one-more", b"x"))[0])  # reloads the mount
        received = await reader.finish()
        refused = await http.get(url, headers={"Range": f"bytes={len(received)}-"})

    assert received == LARGE[: len(received)]
    assert len(received) < len(LARGE)
    assert (refused.status_code, "no longer stored" in refused.text) == (404, True)


async def test_a_cut_download_is_finished_by_several_connections_at_once(hosted: Hosting) -> None:
    url, _key = await link(hosted, "resumed")
    reader = Reader(url)
    await reader.begin()
    hosted.loopback.preempt(hosted.bots()[0])
    begun = await reader.finish()
    await asyncio.to_thread(hosted.wait_until_it_serves, except_for=(hosted.bots()[0],))

    left = range(len(begun), len(LARGE), (len(LARGE) - len(begun)) // 7 + 1)
    async with httpx.AsyncClient(timeout=60) as http:
        wanted = [f"bytes={start}-{start + left.step - 1}" for start in left]
        asked = [{"Range": one, "If-Range": reader.etag} for one in wanted]
        parts = await asyncio.gather(*(http.get(url, headers=one) for one in asked))

    assert [part.status_code for part in parts] == [206] * len(left)
    assert begun + b"".join(part.content for part in parts) == LARGE
