"""A bot with its chat, in this process or deployed to the stand-in for Modal."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.installation import Installation
from bot.sandbox.connect import point_discord_at
from bot.sandbox.server import SandboxServer
from bot.service.threads import in_thread
from tests.wire.bot.copies import Copies
from tests.wire.modal.hosting import Hosting


@dataclass
class Site:
    """A bot, and the server that stands for Discord.

    Attributes:
        installation: What the bot works on, seen from this process.
        url: The URL of its web server.
        restart: Ends the bot as its host does, and starts it again.
        options: What a command line takes to work on it.
    """

    server: SandboxServer
    installation: Installation
    url: str
    restart: Callable[[], Awaitable[None]]
    options: tuple[str, ...]


@asynccontextmanager
async def local_site(folder: Path) -> AsyncGenerator[Site]:
    """Run a bot in this process."""
    server = SandboxServer(folder / "sandbox")
    await server.start()
    with point_discord_at(server.base_url):
        copies = Copies(server, folder / "home")
        first = await copies.start()

        async def restart() -> None:
            await copies.started[-1].leave()
            again = await copies.start()
            assert again.bot.web.base_url == first.bot.web.base_url  # earlier links still work

        options = ("--home", str(folder / "home"))
        yield Site(server, first.local, first.bot.web.base_url, restart, options)
        await copies.leave()
    await server.stop()
    assert server.rest.mistakes == []


@asynccontextmanager
async def deployed_site(hosted: Hosting) -> AsyncGenerator[Site]:
    """Yield a deployed bot."""

    async def restart() -> None:
        (container,) = hosted.bots()
        hosted.loopback.preempt(container)
        await in_thread(lambda: hosted.wait_until_it_serves(except_for=(container,)))

    url = hosted.loopback.public_url("Bot")
    options = ("--backend", "modal", "--app", hosted.deployment.name)
    yield Site(hosted.server, hosted.runtime, url, restart, options)
