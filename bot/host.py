"""The running bot: the chat client and its web side, started and ended as one."""

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.discord.client import ChatOptions, LoraBot
from bot.service import Service
from bot.web.app import create_app
from bot.web.links import LinkSigner
from bot.web.server import WebServer
from bot.wiring import LocalHouse
from training.request import EngineName

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunningBot:
    """A bot that is logged in; `ended` is done when it leaves for good."""

    client: LoraBot
    web: WebServer
    ended: asyncio.Task[None]


def spare_what_is_loaded() -> None:
    """Have the garbage collector look no more at what is loaded now; for a program's start only.

    A full pass over the modules of all packages takes 50 ms, of whichever callback it falls into.
    """
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def running_bot(
    local: LocalHouse,
    *,
    token: str,
    engine: EngineName,
    edit_seconds: float = 5.0,
    progress_seconds: float = 5.0,
) -> AsyncGenerator[RunningBot]:
    """Serve until the body ends.

    Raises:
        RequestError: The token is not that of a bot, or the web side's port is taken.
    """
    settings = local.settings
    signer = LinkSigner(local.link_secret(), hours=settings.link_hours)
    web = WebServer(create_app(local.house.store, signer))
    await web.start(settings.web_host, settings.web_port)
    signer.base_url = settings.web_url or web.base_url
    options = ChatOptions(
        team_role=settings.team_role,
        upload_limit_mib=settings.upload_limit_mib,
        edit_seconds=edit_seconds,
        progress_seconds=progress_seconds,
    )
    client = LoraBot(Service(local, signer, engine), local.house.store, options)
    try:
        async with client:
            await client.login(token)
            ended = asyncio.create_task(client.connect(), name="gateway")
            await _ready(client, ended)
            try:
                yield RunningBot(client, web, ended)
            finally:
                await client.close()
                await ended
    finally:
        await web.stop()


async def _ready(client: LoraBot, ended: asyncio.Task[None]) -> None:
    """Wait until the bot has seen its servers; a refused login is raised."""
    ready = asyncio.create_task(client.wait_until_ready(), name="ready")
    await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        ready.cancel()
        await ended
