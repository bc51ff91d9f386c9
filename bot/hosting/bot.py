"""The running bot: chat client and web side, started and stopped together."""

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.discord.client import ChatOptions, LoraBot
from bot.discord.copies.leader import Timing
from bot.installation import Installation
from bot.service.downloads.links import LinkSigner
from bot.service.service import Service
from bot.service.threads import in_thread
from bot.web.app import create_app
from bot.web.server import WebServer
from training.vocabulary import EngineName

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunningBot:
    """A bot that is logged in; `ended` completes when it leaves for good."""

    client: LoraBot
    web: WebServer
    ended: asyncio.Task[None]

    @property
    def is_active(self) -> bool:
        """Whether this copy keeps the cards; a standby only answers what the active copy misses."""
        return self.client.duty.is_active


def load_and_freeze(installation: Installation) -> None:
    """Import everything, then exempt it from garbage collection. Call once, at the start.

    A full collection over the modules of all packages would block the event loop for 50 ms.
    """
    installation.load()
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def running_bot(
    local: Installation,
    *,
    token: str,
    engine: EngineName,
    edit_seconds: float = 5.0,
    progress_seconds: float = 5.0,
    timing: Timing | None = None,
) -> AsyncGenerator[RunningBot]:
    """Serve while the body runs, then hand over, finish running commands, and leave.

    Copies of the bot on one installation answer each command once.

    Raises:
        RequestError: Discord refuses the token, or the web side's port is taken.
    """
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
    client = LoraBot(
        Service(local, signer, engine), runtime.store, runtime.leases, local.claims, options
    )
    web = WebServer(create_app(runtime.store, signer, lambda: client.is_connected))
    await web.start(settings.web_host, settings.web_port)
    signer.base_url = settings.web_url or web.base_url
    try:
        async with client:
            await client.login(token)
            ended = asyncio.create_task(client.connect(), name="gateway")
            await _ready(client, ended)
            try:
                await client.take_part()
                yield RunningBot(client, web, ended)
            finally:
                await client.leave()
                await _close(client, ended)
    finally:
        await web.stop()


async def _close(client: LoraBot, ended: asyncio.Task[None]) -> None:
    """Close the connection with code 1000, so that Discord ends the session."""
    # A close while the library reads would send code 4000, which keeps the session.
    ended.cancel()
    await asyncio.wait({ended})
    await client.close()
    if not ended.cancelled():
        ended.result()


async def _ready(client: LoraBot, ended: asyncio.Task[None]) -> None:
    """Wait until the bot has received its servers; raise if the login is refused."""
    ready = asyncio.create_task(client.wait_until_ready(), name="ready")
    await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        ready.cancel()
        await ended
