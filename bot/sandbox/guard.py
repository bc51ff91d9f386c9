"""Access control: this machine, the sandbox's own page, and the page's secret."""

import hmac

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_LOCAL_NAMES = ("127.0.0.1", "localhost")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Uploads are displayed but sandboxed: an uploaded page must not reach the chat page.
FILE_HEADERS = {**HEADERS, "Content-Security-Policy": "sandbox; default-src 'none'"}


class Guard:
    """Checks Host and Origin on every request and the secret on the page's API."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self.port = 0

    def _hosts(self) -> set[str]:
        return {f"{name}:{self.port}" for name in _LOCAL_NAMES}

    def refusal(self, request: web.Request) -> web.Response | None:
        """Return the refusal of a request, or None to serve it."""
        # Guards against DNS rebinding: a foreign name may resolve to this machine.
        if request.headers.get("Host") not in self._hosts():
            return _refused(421, "Wrong host.", "Open the link printed at startup.")
        origin = request.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in self._hosts()}:
            return _refused(403, "Wrong origin.", "Open the sandbox's own page.")
        if request.path.startswith("/sandbox/api/") and not self._knows_secret(request):
            return _refused(401, "Missing or wrong secret.", "Open the link printed at startup.")
        return None

    def _knows_secret(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self._secret.encode())


def _refused(status: int, cause: str, fix: str) -> web.Response:
    return web.json_response({"cause": cause, "fix": fix}, status=status)


def guarding(guard: Guard) -> Middleware:
    """Return the middleware that applies `guard`."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        return guard.refusal(request) or await handler(request)

    return check
