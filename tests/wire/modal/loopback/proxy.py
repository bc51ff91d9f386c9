"""The public URL of a server: passes requests on to the container that serves now."""

import socket
from collections.abc import Callable, Iterable

from aiohttp import ClientError, ClientPayloadError, ClientSession, ClientTimeout, web

from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.ports import OUTSIDE

# RFC 9110, 7.6.1: of one connection only.
HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
    *("te", "trailer", "transfer-encoding", "upgrade"),
}


class Proxy:
    """Modal's edge for one server.

    Attributes:
        port: Public port.
        url: Public address; the same for every version and container.
        is_wanted: Whether a request came: a server without minimum is started then.
    """

    def __init__(
        self, serving: Callable[[], Container | None], changed: Callable[[], None], port: int
    ) -> None:
        self._serving, self._changed = serving, changed
        self._listening = _listen(port)
        self.port: int = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.is_wanted = False
        app = web.Application(client_max_size=1 << 40)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        self._session: ClientSession | None = None

    async def start(self) -> None:
        """Begin to answer; connections that came before are answered too."""
        self._session = ClientSession(
            auto_decompress=False, timeout=ClientTimeout(total=None), cookie_jar=None
        )
        await self._runner.setup()
        await web.SockSite(self._runner, self._listening).start()

    async def stop(self) -> None:
        """Close the port."""
        await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
        self._listening.close()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        self.is_wanted = True
        self._changed()
        if "upgrade" in request.headers.get("Connection", "").lower():
            return web.Response(status=501, text="The loopback passes no websocket on.\n")
        container = self._serving()
        if container is None:
            return web.Response(status=503, text="No container serves at the moment.\n")
        config = container.definition.http_config
        if not config.unauthenticated and not _has_token(request):
            return web.Response(status=401, text="Modal-Key and Modal-Secret are missing.\n")
        container.requests += 1
        self._changed()
        try:
            return await self._exchange(request, container)
        except ClientError:
            return web.Response(status=502, text="The container hung up.\n")
        finally:
            container.requests -= 1
            self._changed()

    async def _exchange(self, request: web.Request, container: Container) -> web.StreamResponse:
        assert self._session is not None
        async with self._session.request(
            request.method,
            f"http://{OUTSIDE}:{container.port}{request.raw_path}",
            headers=[
                *_end_to_end(request.headers.items()),
                ("X-Forwarded-For", request.remote or ""),
                ("X-Forwarded-Host", request.host),
                ("X-Forwarded-Proto", "http"),
            ],
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in _end_to_end(answer.headers.items()):
                response.headers.add(name, value)
            await response.prepare(request)
            try:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            except ClientPayloadError:  # the container cut its answer off
                if request.transport is not None:
                    request.transport.abort()
            return response


def _end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]


def _has_token(request: web.Request) -> bool:
    return bool(request.headers.get("Modal-Key") and request.headers.get("Modal-Secret"))


def _listen(port: int) -> socket.socket:
    """Listen on the port that the server had before, or on a free one."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))
