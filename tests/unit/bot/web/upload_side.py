"""The upload side of the web server over loopback, with a real store."""

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from aiohttp import web

from bot.hosting.local import LocalInstallation
from bot.installation import Installation
from bot.service.links import LinkSigner
from bot.service.rights import GuildMember
from bot.service.service import Service
from bot.service.threads import in_thread
from bot.service.uploads.uploads import UploadLink
from bot.settings import Settings
from bot.web.app import create_app
from bot.web.browser import LINK_HEADER
from bot.web.server import WebServer
from bot.web.uploads.protocol import CONTENT_TYPE, VERSION
from training import store_keys
from training.registry.uploads.session import DatasetTarget

GUILD = "42"
ADA = GuildMember(id="7", guild=GUILD)
DATA = bytes(range(256)) * 40


@dataclass
class UploadSide:
    """A server that takes uploads, and a client without any cookie yet.

    Attributes:
        logs: Returns what the server has logged.
        later_seconds: How far the clock by which links are signed is ahead.
    """

    installation: Installation
    service: Service
    signer: LinkSigner
    client: httpx.AsyncClient
    guild: str = GUILD
    logs: Callable[[], str] = lambda: ""
    later_seconds: float = 0.0

    @property
    def ada(self) -> GuildMember:
        return GuildMember(id="7", guild=self.guild)

    @property
    def ben(self) -> GuildMember:
        return GuildMember(id="8", guild=self.guild)

    async def link(self, name: str = "annika", person: GuildMember | None = None) -> UploadLink:
        target = DatasetTarget(name=name)
        return await self.service.uploads.link(person or self.ada, target, channel=None)

    async def begun(self, sent: int = 1000) -> tuple[UploadLink, str]:
        """Return an open link and the place of a file of which some bytes have arrived."""
        link = await self.link()
        await self.open(link)
        place = (await self.create(link, "annika.zip")).headers["location"]
        assert (await self.send(link, place, DATA[:sent])).status_code == 204
        return link, place

    async def offset(self, link: UploadLink, place: str) -> int:
        answer = await self.client.head(place, headers=headers(link))
        return int(answer.headers["upload-offset"])

    async def received(self, link: UploadLink) -> int:
        """Return how many bytes the server has, of all files of a link."""
        state = await self.client.get(f"/uploads/{link.session}", headers=headers(link))
        return sum(file["received"] for file in state.json()["files"])

    async def content(self, link: UploadLink) -> bytes:
        """Let the server check a file that is no zip, and return its stored bytes."""
        place = f"/uploads/{link.session}"
        (await self.client.post(f"{place}/finish", headers=headers(link))).raise_for_status()
        while (await self.client.get(place, headers=headers(link))).json()["status"] != "open":  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # no event announces the end of a check
        key = f"{store_keys.upload(self.guild, link.session)}/files"
        return await in_thread(self._content, key)

    def _content(self, key: str) -> bytes:
        store = self.installation.runtime.store
        keys = sorted(file.key for file in store.walk(key) if not file.key.endswith(".json"))
        return b"".join(store.read(one) for one in keys)

    async def open(self, link: UploadLink) -> str:
        """Open the link in this client and return the path of its session."""
        place = f"/uploads/{link.session}"
        answer = await self.client.post(f"{place}/bind", headers=headers(link))
        answer.raise_for_status()
        return place

    async def create(self, link: UploadLink, path: str, size: int = len(DATA)) -> httpx.Response:
        asked = {
            **headers(link),
            "Upload-Length": str(size),
            "Upload-Metadata": f"path {b64(path)}",
        }
        return await self.client.post(f"/uploads/{link.session}/files", headers=asked)

    async def send(
        self, link: UploadLink, place: str, data: bytes = DATA, offset: int = 0
    ) -> httpx.Response:
        asked = {**headers(link), "Upload-Offset": str(offset), "Content-Type": CONTENT_TYPE}
        return await self.client.patch(place, headers=asked, content=data)

    async def send_in_two(  # what to send, and when
        self,
        link: UploadLink,
        place: str,
        halves: tuple[bytes, bytes],
        offset: int,
        began: asyncio.Event,
        may_end: asyncio.Event,
    ) -> httpx.Response:
        """Send the first half, set `began`, and send the second once `may_end` is set."""

        async def body() -> AsyncIterator[bytes]:
            yield halves[0]
            began.set()
            await may_end.wait()
            yield halves[1]

        asked = {**headers(link), "Upload-Offset": str(offset), "Content-Type": CONTENT_TYPE}
        asked["Content-Length"] = str(sum(map(len, halves)))
        return await self.client.patch(place, headers=asked, content=body())


@dataclass
class LocalSide(UploadSide):
    """A server in this process."""

    app: web.Application = field(default_factory=web.Application)
    port: int = 0

    def on_disk(self) -> bytes:
        """Return all bytes of files that have arrived, in order of their offsets."""
        home = self.installation.settings.home_folder
        parts = sorted(home.rglob("uploads/*/files/*.0*"))
        return b"".join(part.read_bytes() for part in parts)


@asynccontextmanager
async def local_uploads(home: Path) -> AsyncGenerator[LocalSide]:
    """Serve an installation on this machine in this process."""
    installation = LocalInstallation(Settings(home=home))
    signer = LinkSigner(installation.link_secret(), clock=lambda: time.time() + found.later_seconds)
    service = Service(installation, signer, "rehearsal")
    app = create_app(service.downloads, uploads=service.uploads, captions=service.captions)
    server = WebServer(app)
    signer.base_url = await server.start("127.0.0.1", 0)
    async with httpx.AsyncClient(base_url=signer.base_url, timeout=10, trust_env=False) as client:
        found = LocalSide(installation, service, signer, client, app=app, port=server.port)
        yield found
    await server.stop()


def token_of(link: UploadLink) -> str:
    return link.url.rpartition("#")[2]


def headers(link: UploadLink) -> dict[str, str]:
    return {LINK_HEADER: token_of(link), "Tus-Resumable": VERSION}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
