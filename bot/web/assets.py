"""Serves the scripts and styles of web pages: those of one page, and those that pages share."""

from importlib.abc import Traversable
from importlib.resources import files
from pathlib import PurePosixPath

from aiohttp import web

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SHARED = files("bot.web") / "page"


def asset(name: str, *folders: Traversable) -> web.Response | None:
    """Return a file of a page, from the page's folders or the shared folder; None if not found."""
    kind = _TYPES.get(PurePosixPath(name).suffix)
    if kind is None or "/" in name:
        return None
    for folder in (*folders, SHARED):
        file = folder.joinpath(name)
        if file.is_file():
            headers = {**PAGE_HEADERS, "Content-Type": f"{kind}; charset=utf-8"}
            return web.Response(
                body=file.read_bytes(), headers={**headers, "Cache-Control": "no-cache"}
            )
    return None
