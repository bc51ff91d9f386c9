"""Serves the scripts and styles of web pages: those of one page, and those that pages share."""

from http import HTTPStatus
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
_FOLDERS = (  # the files of all pages have different names
    files("bot.web.uploads") / "page",
    files("bot.web.captions") / "page",
    SHARED / "vendor",
)


def page(area: str) -> web.Response:
    """Return the document of a page: `index.html` of an area such as "uploads"."""
    found = asset("index.html", files(f"bot.web.{area}") / "page")
    return found or web.Response(status=HTTPStatus.NOT_FOUND)


async def page_asset(request: web.Request) -> web.StreamResponse:
    """Answer with a script or style of a page."""
    name = request.match_info["name"]
    found = asset(name, *_FOLDERS) if not name.endswith(".html") else None
    return found or web.Response(status=HTTPStatus.NOT_FOUND)


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
