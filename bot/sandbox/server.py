"""The sandbox server: a local Discord stand-in for bots and a chat page for people."""

import errno
import secrets
import time
from importlib.resources import files
from pathlib import Path

from aiohttp import web

from bot.sandbox.faults import Faults
from bot.sandbox.gateway.events import GatewayEvents
from bot.sandbox.gateway.gateway import Gateway
from bot.sandbox.guard import FILE_HEADERS, HEADERS, Guard, guarding
from bot.sandbox.interactions import Interactions
from bot.sandbox.payloads import Views
from bot.sandbox.people.api import PersonApi
from bot.sandbox.people.outbox import Outbox
from bot.sandbox.people.people import People
from bot.sandbox.people.stream import Stream
from bot.sandbox.rest.application import ApplicationRoutes
from bot.sandbox.rest.dispatch import PREFIX, Rest
from bot.sandbox.rest.interactions import InteractionRoutes
from bot.sandbox.rest.messages import MessageRoutes
from bot.sandbox.rest.rate_limits import RateLimits
from bot.sandbox.rest.threads import ThreadRoutes
from bot.sandbox.wire import MAX_REQUEST_BYTES, Clock, Snowflakes
from bot.sandbox.world.archive import SandboxError, WorldArchive
from bot.sandbox.world.attachments import Attachments
from bot.sandbox.world.changes import Change, Changes
from bot.sandbox.world.commands import Commands
from bot.sandbox.world.messages import Messages
from bot.sandbox.world.threads import Threads
from bot.sandbox.world.world import World

_HOST = "127.0.0.1"
_PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


class SandboxServer:
    """One sandbox, with its state in the folder `home`."""

    def __init__(
        self, home: Path, *, clock: Clock = time.time, page_secret: str | None = None
    ) -> None:
        self._archive = archive = WorldArchive(home)
        self.clock = clock
        ids = Snowflakes(clock, archive.newest_id())
        self.world = World(archive, ids, clock)
        self.bot_token = archive.token("bot")
        self.secret = page_secret or secrets.token_urlsafe(24)
        self.port = 0
        self._changes = Changes()
        self.attachments = Attachments(archive, ids, clock)
        self.messages = Messages(archive, self.world, self.attachments, self._changes)
        self._threads = Threads(self.world, self.messages, self._changes)
        self.views = Views(self.world, self.attachments)
        self.commands = Commands(archive, self.world, self._changes)
        self.interactions = Interactions(self.world, self.messages, self._changes)
        self.gateway = Gateway(self.world, self.bot_token)
        self.limits = RateLimits(clock)
        self.faults = Faults(self.gateway, self.messages, self.world, self._changes)
        self.rest = Rest(self.bot_token, self.limits, self.faults)
        outbox = Outbox(self.world, self.interactions, self.views, self.gateway, self.faults)
        self._people = People(
            self.world, self.commands, self.messages, self._threads, self.attachments, outbox
        )
        self._stream = Stream(self.world, self.views, self.interactions)
        self._guard = Guard(self.secret)
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """The server's address, without a path."""
        return f"http://{_HOST}:{self.port}"

    @property
    def api_base(self) -> str:
        """Replaces https://discord.com/api/v10."""
        return self.base_url + PREFIX

    @property
    def gateway_url(self) -> str:
        """Replaces wss://gateway.discord.gg/."""
        return f"ws://{_HOST}:{self.port}/gateway"

    @property
    def page_url(self) -> str:
        """The chat page's address, with the secret in the fragment."""
        return f"{self.base_url}/sandbox/#{self.secret}"

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1.

        Raises:
            SandboxError: The port is taken.
        """
        self._runner = web.AppRunner(self._application(), shutdown_timeout=1.0, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, _HOST, port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            if error.errno != errno.EADDRINUSE:
                raise
            raise SandboxError(
                f"Port {port} is already in use.", "Choose another port, or stop the other program."
            ) from error
        self.port = site.port or port
        self._guard.port = self.port
        self.attachments.base_url = self.base_url
        self.gateway.url = self.gateway_url

    async def stop(self) -> None:
        """Close all connections and the database."""
        self._stream.close()
        await self.gateway.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._archive.close()

    def _application(self) -> web.Application:
        app = web.Application(
            client_max_size=2 * MAX_REQUEST_BYTES, middlewares=[guarding(self._guard)]
        )
        self._install_rest(app)
        self._install_person(app)
        app.router.add_get("/gateway", self.gateway.serve)
        app.router.add_get("/attachments/{channel}/{id}/{name}", self._download)
        app.router.add_get("/sandbox/{name:.*}", _page)
        return app

    def _install_rest(self, app: web.Application) -> None:
        world, messages, threads = self.world, self.messages, self._threads
        changes, views = self._changes, self.views
        events = GatewayEvents(world, views)

        def announce(change: Change) -> None:
            if event := events.of(change):
                self.gateway.dispatch(event)

        changes.listen(announce)
        routes = [
            *MessageRoutes(world, messages, threads, views, changes, self.limits).routes(),
            *ThreadRoutes(world, messages, threads, changes).routes(),
            *ApplicationRoutes(world, self.commands, self.gateway, changes).routes(),
            *InteractionRoutes(self.interactions, self.views).routes(),
        ]
        self.rest.install(app, routes)

    def _install_person(self, app: web.Application) -> None:
        self._changes.listen(self._stream.tell)
        api = PersonApi(
            self.world, self._people, self.messages, self.views, self.interactions, self._stream
        )
        api.install(app)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        found = self.attachments.open(request.raw_path)
        if found is None:
            return web.Response(status=404, text="This content is no longer available.")
        record, path = found
        kind = record["content_type"] or "application/octet-stream"
        return web.FileResponse(path, headers={"Content-Type": kind, **FILE_HEADERS})


async def _page(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"] or "index.html"
    file = files("bot.sandbox").joinpath("page", name)
    kind = _PAGE_TYPES.get(Path(name).suffix)
    if "/" in name or kind is None or not file.is_file():
        return web.Response(status=404)
    headers = {**HEADERS, "Content-Type": f"{kind}; charset=utf-8", "Cache-Control": "no-cache"}
    return web.Response(body=file.read_bytes(), headers=headers)
