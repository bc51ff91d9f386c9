"""The web application: downloads and uploads behind signed links, and a health check."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import hdrs, web

from bot.service.captions.captions import CaptionService
from bot.service.downloads.downloads import Downloads
from bot.service.links import (
    LinkBoundError,
    LinkExpiredError,
    LinkForgedError,
    LinkRevokedError,
)
from bot.service.uploads.uploads import UploadBusyError, UploadService
from bot.web.assets import page_asset
from bot.web.browser import ForeignPageError
from bot.web.captions.routes import CaptionRoutes
from bot.web.downloads import DownloadRoutes
from bot.web.uploads.protocol import TusError
from bot.web.uploads.routes import UploadRoutes
from training.errors import NotFoundError, TrainingError
from training.registry.caption_sessions import CaptionsEndedError
from training.registry.uploads.session import UploadEndedError
from training.registry.uploads.sessions import NoRoomError, TooLargeError

logger = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MOST_REQUEST_BYTES = 8 << 20  # limit for bodies that are read into memory; uploads are streamed
_STATUS: dict[type[TrainingError], int] = {
    LinkForgedError: 403,
    ForeignPageError: 403,
    LinkBoundError: 403,
    NotFoundError: 404,
    LinkExpiredError: 410,
    LinkRevokedError: 410,
    UploadEndedError: 410,
    CaptionsEndedError: 410,
    TooLargeError: 413,
    UploadBusyError: 423,
    NoRoomError: 507,
}
_OF_SCRIPTS = ("/uploads/", "/captions/")  # answered with JSON
_HEADERS = {
    hdrs.CACHE_CONTROL: "private, no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def create_app(
    downloads: Downloads,
    is_well: Callable[[], bool] = lambda: True,
    uploads: UploadService | None = None,
    captions: CaptionService | None = None,
) -> web.Application:
    """Return the application; `is_well` tells whether the bot is connected to Discord."""

    async def health(_request: web.Request) -> web.StreamResponse:
        if is_well():
            return web.json_response({"status": "ok"})
        return web.json_response({"status": "not connected to Discord"}, status=503)

    app = web.Application(middlewares=[_explain], client_max_size=_MOST_REQUEST_BYTES)
    DownloadRoutes(downloads).install(app)
    if uploads is not None:
        UploadRoutes(uploads).install(app)
    if captions is not None:
        CaptionRoutes(captions).install(app)
    app.router.add_get("/assets/{name}", page_asset)
    app.router.add_get("/health", health)
    app.on_response_prepare.append(_finish_headers)
    return app


@web.middleware
async def _explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer expected failures with their cause and fix."""
    try:
        return await handler(request)
    except TusError as error:
        return _refusal(request, error, error.status)
    except TrainingError as error:
        return _refusal(request, error, _STATUS.get(type(error), 400))
    except OSError as error:
        logger.warning("a request failed: %s", error)
        cause = "The bot cannot reach its files at the moment."
        busy = TrainingError(cause, "Try again in a minute.")
        return _refusal(request, busy, HTTPStatus.SERVICE_UNAVAILABLE)
    except web.HTTPNotFound:
        text = "There is nothing at this URL.\nUse /download in Discord to get a link.\n"
        return web.Response(status=404, text=text)


def _refusal(request: web.Request, error: TrainingError, status: int) -> web.Response:
    """Return the cause and fix of a failure: as JSON for a page's scripts, as text for people."""
    if request.path.startswith(_OF_SCRIPTS):
        return web.json_response({"cause": error.cause, "fix": error.fix}, status=status)
    return web.Response(status=status, text=f"{error.cause}\n{error.fix}\n")


async def _finish_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)  # pages set their own Content-Security-Policy
    # Replace the header in which aiohttp reveals its version.
    response.headers.popall(hdrs.SERVER, None)
