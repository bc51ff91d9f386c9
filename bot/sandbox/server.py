"""The sandbox server: a local Discord stand-in for bots and a chat page for people."""

import asyncio
import errno
import hmac
import secrets
import time
from importlib.resources import files
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.sandbox.faults import DownloadFault
from bot.sandbox.people.api import PersonApi, Stream
from bot.sandbox.rest.application import ApplicationRoutes, CommandRoutes
from bot.sandbox.rest.channels import MessageRoutes, ThreadRoutes
from bot.sandbox.rest.dispatch import PREFIX, Rest
from bot.sandbox.rest.interactions import InteractionRoutes
from bot.sandbox.sandbox import Sandbox
from bot.sandbox.wire import MAX_REQUEST_BYTES, Clock
from bot.sandbox.world.archive import SandboxError
from bot.service.threads import in_thread
from bot.web.assets import PAGE_HEADERS, asset

_HOST = "127.0.0.1"
_GROUPS = (MessageRoutes, ThreadRoutes, ApplicationRoutes, CommandRoutes, InteractionRoutes)
# An uploaded page is displayed, but sandboxed so that its scripts cannot reach the chat page.
_FILE_HEADERS = {**PAGE_HEADERS, "Content-Security-Policy": "sandbox; default-src 'none'"}


class SandboxServer(Sandbox):
    """A sandbox served over HTTP and WebSocket on this machine."""

    def __init__(
        self, home: Path, *, clock: Clock = time.time, page_secret: str | None = None
    ) -> None:
        super().__init__(home, clock)
        self.secret = page_secret or secrets.token_urlsafe(24)
        self.port = 0
        self.rest = Rest(self)
        self._stream = Stream(self)
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """The server's URL, without a path."""
        return f"http://{_HOST}:{self.port}"

    @property
    def api_base(self) -> str:
        """The REST URL to use instead of https://discord.com/api/v10."""
        return self.base_url + PREFIX

    @property
    def gateway_url(self) -> str:
        """The gateway URL to use instead of wss://gateway.discord.gg/."""
        return f"ws://{_HOST}:{self.port}/gateway"

    @property
    def page_url(self) -> str:
        """The chat page's URL, with the secret in the fragment."""
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
        self.attachments.base_url = self.base_url
        self.gateway.url = self.gateway_url

    async def stop(self) -> None:
        """Close all connections and the database."""
        self._stream.close()
        await self.gateway.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self.archive.close()

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=2 * MAX_REQUEST_BYTES, middlewares=[self._guard])
        self.rest.install(app, [route for group in _GROUPS for route in group(self).routes()])
        PersonApi(self, self._stream).install(app)
        app.router.add_get("/gateway", self.gateway.serve)
        app.router.add_get("/attachments/{channel}/{id}/{name}", self._download)
        app.router.add_get("/sandbox/{name:.*}", _page)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check Host and Origin of every request, and the secret on the page's API."""
        hosts = {f"{name}:{self.port}" for name in (_HOST, "localhost")}
        # Guard against DNS rebinding, where a foreign host name resolves to this machine.
        if request.headers.get("Host") not in hosts:
            return _refused(421, "Wrong host.", "Open the link printed at startup.")
        origin = request.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in hosts}:
            return _refused(403, "Wrong origin.", "Open the sandbox's own page.")
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        knows_secret = hmac.compare_digest(given.encode(), self.secret.encode())
        if request.path.startswith("/sandbox/api/") and not knows_secret:
            return _refused(401, "Missing or wrong secret.", "Open the link printed at startup.")
        return await handler(request)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        found = self.attachments.open(request.raw_path)
        if found is None:
            return web.Response(status=404, text="This content is no longer available.")
        record, path = found
        if fault := self.faults.take_download():
            return await _failed_download(request, path, fault)
        kind = record["content_type"] or "application/octet-stream"
        return web.FileResponse(path, headers={"Content-Type": kind, **_FILE_HEADERS})


async def _failed_download(
    request: web.Request, path: Path, fault: DownloadFault
) -> web.StreamResponse:
    if fault in ("503", "404"):
        return web.Response(status=int(fault), text="a fault on demand")
    if fault == "hang":
        await asyncio.Event().wait()  # until the client goes away
    content = await in_thread(path.read_bytes)
    response = web.StreamResponse(headers={"Content-Length": str(len(content))})
    await response.prepare(request)
    await response.write(content[: len(content) // 2])
    _reset(request)
    return response


def _reset(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _refused(status: int, cause: str, fix: str) -> web.Response:
    return web.json_response({"cause": cause, "fix": fix}, status=status)


async def _page(request: web.Request) -> web.StreamResponse:
    found = asset(request.match_info["name"] or "index.html", files("bot.sandbox") / "page")
    return found or web.Response(status=404)
