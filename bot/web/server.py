"""The bot's web server, which limits its connections."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from weakref import WeakKeyDictionary

from aiohttp import hdrs, web

from training.errors import RequestError

_ACCEPTED_AT_ONCE = 16  # connections that a burst may open beyond the bound
_BUFFER_BYTES = 256 * 1024  # receive buffer of each connection
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits on connections and requests.

    Attributes:
        connections: Open connections. Each takes up to two file descriptors, and a process often
            has no more than 1,024.
        requests: Requests handled at once, fewer than `connections`, so that further requests can
            be answered with a refusal.
        idle_seconds: How long a connection may stay open without a complete request.
        shutdown_seconds: How long requests in progress may continue when the server stops.
    """

    connections: int = 320
    requests: int = 256
    idle_seconds: float = 30.0
    shutdown_seconds: float = 5.0


class WebServer:
    """Serves an application. Port 0 stands for any free port."""

    def __init__(self, app: web.Application, bounds: Bounds | None = None) -> None:
        self._app = app
        self._bounds = bounds or Bounds()
        self._busy = set[asyncio.Transport]()
        # The time at which a connection was opened or its last request ended.
        self._idle_since: WeakKeyDictionary[asyncio.Transport, float] = WeakKeyDictionary()
        self._runner: web.AppRunner | None = None
        self._reaping: asyncio.Task[None] | None = None
        self.base_url = ""  # empty until the server is started
        self.port = 0

        @web.middleware
        async def bound(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._bound(request, handler)

        app.middlewares.insert(0, bound)

    async def start(self, host: str, port: int) -> str:
        """Start listening and return the base URL.

        Raises:
            RequestError: The address is not available.
        """
        # No access log: it would contain the tokens of links.
        self._runner = runner = web.AppRunner(
            self._app,
            access_log=None,
            shutdown_timeout=self._bounds.shutdown_seconds,
            keepalive_timeout=self._bounds.idle_seconds,
            read_bufsize=_BUFFER_BYTES,
            lingering_time=0.0,  # otherwise a refused upload would be received for ten more seconds
            auto_decompress=False,  # a small body could otherwise unpack to a huge one
        )
        await runner.setup()
        try:
            await _BoundedSite(runner, host, port, self._make_room).start()
        except OSError as error:
            await runner.cleanup()
            raise RequestError(
                f"The web server cannot listen on {host}, port {port}: {error.strerror}.",
                "Set LORABOT_WEB_HOST and LORABOT_WEB_PORT to a free address; "
                "port 0 takes any free port.",
            ) from error
        bound = runner.addresses[0]
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        self.port = bound[1]
        self.base_url = f"http://{shown}:{self.port}"
        self._reaping = asyncio.create_task(self._reap(), name="close idle connections")
        return self.base_url

    async def stop(self) -> None:
        """Stop listening; requests in progress get a few seconds to finish."""
        if self._reaping is not None:
            self._reaping.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _bound(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Record which connections are busy, and refuse requests beyond the limit."""
        transport = request.transport
        if len(self._busy) >= self._bounds.requests or transport is None:
            return web.Response(
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                text="Too many requests at once. Try again in a moment.\n",
                headers={hdrs.RETRY_AFTER: "5"},
            )
        self._busy.add(transport)
        try:
            return await handler(request)
        finally:
            self._busy.discard(transport)
            self._idle_since[transport] = asyncio.get_running_loop().time()

    def _make_room(self) -> bool:
        """Return whether one more connection fits; if necessary, close the one idle for longest."""
        # Look at all connections, so that the idle time of new ones starts to count.
        ages = {transport: self._since(transport) for transport in self._connections()}
        if len(ages) < self._bounds.connections:
            return True
        idle = [transport for transport in ages if transport not in self._busy]
        if not idle:
            return False
        min(idle, key=ages.__getitem__).abort()
        return True

    async def _reap(self) -> None:
        """Close connections that have been idle for too long, until cancelled."""
        while True:
            await asyncio.sleep(self._bounds.idle_seconds / 4)
            limit = asyncio.get_running_loop().time() - self._bounds.idle_seconds
            for transport in self._connections():
                if transport not in self._busy and self._since(transport) < limit:
                    transport.abort()

    def _since(self, transport: asyncio.Transport) -> float:
        now = asyncio.get_running_loop().time()
        return self._idle_since.setdefault(transport, now)

    def _connections(self) -> list[asyncio.Transport]:
        server = self._runner.server if self._runner is not None else None
        found = [] if server is None else [handler.transport for handler in server.connections]
        return [t for t in found if t is not None and not t.is_closing()]


class _BoundedSite(web.BaseSite):
    """A listening socket that refuses new connections while too many are open."""

    def __init__(
        self, runner: web.AppRunner, host: str, port: int, make_room: Callable[[], bool]
    ) -> None:
        super().__init__(runner, backlog=_ACCEPTED_AT_ONCE)
        self._host, self._port = host, port
        self._make_room = make_room

    @property
    def name(self) -> str:
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._protocol, self._host, self._port, backlog=self._backlog
        )

    def _protocol(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None or not self._make_room():
            return _Refusing()
        return server()


class _Refusing(asyncio.Protocol):
    """Answers a new connection with 503 and closes it at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            with suppress(OSError):
                transport.write(
                    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"
                    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
                )
        transport.close()
