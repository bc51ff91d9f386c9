"""The same servers twice: in this process, and deployed to the stand-in for Modal."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx
import pytest
import pytest_asyncio

from bot.sandbox.client import SandboxUser
from bot.service.downloads.downloads import FRESH_SECONDS, Downloads
from bot.service.links import LinkSigner
from bot.service.service import Service
from bot.service.threads import in_thread
from tests.unit.bot.web.upload_side import UploadSide, local_uploads
from tests.unit.bot.web_side import Web, local_web
from tests.wire.bot.chat import Chat
from tests.wire.modal.hosting import Hosting, close_client, control_plane
from tests.wire.modal.loopback.settings import Settings
from tests.wire.modal.sandbox_thread import sandbox_thread
from tests.wire.web.site import Site, deployed_site, local_site

Backend = Literal["local", "modal"]


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosting]:
    """A deployed bot; each test has a guild of its own."""
    folder = tmp_path_factory.mktemp("hosted")
    with (
        sandbox_thread(folder / "sandbox") as sandbox,
        control_plane(folder / "modal", Settings()) as loopback,
    ):
        found = Hosting(loopback, sandbox.server)
        found.deploy_stages()
        found.start()
        yield found
        close_client()
        loopback.check()


@pytest.fixture(params=["local", "modal"])
def deployed(request: pytest.FixtureRequest) -> Hosting | None:
    """The deployed bot; None for a server in this process."""
    backend: Backend = request.param
    return request.getfixturevalue("hosted") if backend == "modal" else None


@pytest_asyncio.fixture
async def web(deployed: Hosting | None, tmp_path: Path) -> AsyncGenerator[Web]:
    side = local_web(tmp_path / "home") if deployed is None else _deployed_web(deployed)
    async with side as found:
        yield found


@pytest_asyncio.fixture
async def uploads(
    deployed: Hosting | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> AsyncGenerator[UploadSide]:
    side = local_uploads(tmp_path / "home") if deployed is None else _deployed_uploads(deployed)
    async with side as found:
        if deployed is None:
            found.logs = lambda: caplog.text
        yield found


@asynccontextmanager
async def _deployed_web(hosted: Hosting) -> AsyncGenerator[Web]:
    runtime, own = hosted.runtime.runtime, await in_thread(hosted.signer)
    links = LinkSigner(await in_thread(hosted.runtime.link_secret), clock=lambda: found.now)
    links.base_url = own.base_url

    async def settle() -> None:
        await asyncio.sleep(1.1 * FRESH_SECONDS)  # the server then knows no record any more

    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        downloads = Downloads(runtime.store, links)
        found = Web(runtime.store, links, downloads, client, settle, guild=_new_guild())
        await found.save_pair()
        yield found


@asynccontextmanager
async def _deployed_uploads(hosted: Hosting) -> AsyncGenerator[UploadSide]:
    secret, own = await in_thread(hosted.runtime.link_secret), await in_thread(hosted.signer)
    signer = LinkSigner(secret, clock=lambda: time.time() + found.later_seconds)
    signer.base_url = own.base_url
    service = Service(hosted.runtime, signer, "rehearsal")
    async with httpx.AsyncClient(base_url=own.base_url, timeout=30, trust_env=False) as client:
        found = UploadSide(hosted.runtime, service, signer, client, guild=_new_guild())
        found.logs = lambda: "".join(container.text for container in hosted.bots(ended=True))
        yield found


@pytest_asyncio.fixture
async def site(deployed: Hosting | None, tmp_path: Path) -> AsyncGenerator[Site]:
    async with local_site(tmp_path) if deployed is None else deployed_site(deployed) as found:
        yield found


@pytest_asyncio.fixture
async def ada(site: Site) -> AsyncGenerator[Chat]:
    async with SandboxUser(site.server.page_url, user="Ada") as user:
        yield Chat(user)


def _new_guild() -> str:
    return str(uuid.uuid4().int)[:18]
