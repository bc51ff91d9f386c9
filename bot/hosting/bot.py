"""The running bot: Discord client and web server, which start and stop together."""

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.discord.client import ChatOptions, LoraBot
from bot.discord.copies.leader import Timing
from bot.installation import Installation
from bot.service.imports.imports import ImportOptions
from bot.service.links import LinkSigner
from bot.service.service import Service
from bot.service.threads import in_thread
from bot.web.app import create_app
from bot.web.server import WebServer
from training.errors import RequestError
from training.vocabulary import EngineName

# How soon a busy thread must hand over Python's global interpreter lock to the event loop. The
# default is 5 ms, and one answer needs the lock about twenty times.
_SWITCH_SECONDS = 0.001
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunningBot:
    """A bot that is logged in; `ended` completes when it has left Discord for good."""

    client: LoraBot
    web: WebServer
    ended: asyncio.Task[None]

    @property
    def is_active(self) -> bool:
        """Return whether this copy updates the cards.

        A standby answers only the interactions that the active copy does not claim.
        """
        return self.client.leader.is_active


def load_and_freeze(installation: Installation) -> None:
    """Import all modules and exempt them from garbage collection. Call this once, at the start.

    Otherwise each full collection would scan all modules and block the event loop for 50 ms.
    """
    installation.load()
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def running_bot(  # noqa: PLR0913  # options
    local: Installation,
    *,
    token: str,
    engine: EngineName,
    edit_seconds: float = 5.0,
    progress_seconds: float = 5.0,
    timing: Timing | None = None,
    imports: ImportOptions | None = None,
) -> AsyncGenerator[RunningBot]:
    """Serve while the body runs, then hand over, finish the commands in progress, and leave.

    Several copies of the bot may serve one installation; each command is answered by one of them.
    Only tests set `timing` and `imports`.

    Raises:
        RequestError: Discord refuses the token, or the web server's port is taken.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    settings = local.settings
    secret = await in_thread(local.link_secret)
    signer = LinkSigner(secret, hours=settings.link_hours)
    options = ChatOptions(
        team_role=settings.team_role,
        upload_limit_mib=settings.upload_limit_mib,
        edit_seconds=edit_seconds,
        progress_seconds=progress_seconds,
        timing=timing or Timing(),
    )
    runtime = local.runtime
    service = Service(local, signer, engine, imports)
    client = LoraBot(service, runtime.store, runtime.leases, local.claims, options)
    app = create_app(
        service.downloads, lambda: client.is_connected, service.uploads, service.captions
    )
    web = WebServer(app)
    async with service.uploads.running(), service.run_lists.running():
        await _start(web, local)
        signer.base_url = settings.web_url or web.base_url
        try:
            async with _connected(client, token) as ended:
                yield RunningBot(client, web, ended)
        finally:
            await web.stop()


async def _start(web: WebServer, local: Installation) -> None:
    """Start the web server. If no port is set, use the last one, so that old links still work."""
    host, port = local.settings.web_host, local.settings.web_port
    if port:
        await web.start(host, port)
        return
    try:
        await web.start(host, await in_thread(local.wanted_web_port))
    except RequestError:
        await web.start(host, 0)  # another process uses that port
    await in_thread(local.remember_web_port, web.port)


@asynccontextmanager
async def _connected(client: LoraBot, token: str) -> AsyncGenerator[asyncio.Task[None]]:
    """Stay connected while the body runs, then hand over; yield the connection's task."""
    async with client:
        await client.login(token)
        ended = asyncio.create_task(client.connect(), name="gateway")
        await _ready(client, ended)
        try:
            await client.take_part()
            yield ended
        finally:
            await client.leave()
            await _close(client, ended)


async def _close(client: LoraBot, ended: asyncio.Task[None]) -> None:
    """Close the connection with code 1000, so that Discord ends the session."""
    # Stop discord.py before closing: otherwise it uses code 4000, which keeps the session.
    ended.cancel()
    await asyncio.wait({ended})
    await client.close()
    if not ended.cancelled():
        ended.result()


async def _ready(client: LoraBot, ended: asyncio.Task[None]) -> None:
    """Wait until the bot knows its servers; if the connection fails, raise its error."""
    ready = asyncio.create_task(client.wait_until_ready(), name="ready")
    await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        ready.cancel()
        await ended
