"""Ties a page to one browser: the link's token in a header, a cookie, and the check of origins."""

from datetime import datetime
from http import HTTPStatus
from typing import Protocol

from aiohttp import hdrs, web
from yarl import URL

from bot.service.links import PageName
from training.errors import RequestError

LINK_HEADER = "Page-Link"  # carries the token of the link to a page


class ForeignPageError(RequestError):
    """The request comes from another page."""


class BoundSession(Protocol):
    """A session that is bound to one browser."""

    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def expires_at(self) -> datetime: ...


def cookie_name(page: PageName, session: str) -> str:
    """Return the name of the cookie that binds a link to one browser."""
    return f"lorabot-{page}-{session}"


def link_token(request: web.Request) -> str:
    """Return the token of the link with which a page makes a request; "" if there is none."""
    return request.headers.get(LINK_HEADER, "")


def link_proof(request: web.Request, page: PageName) -> str:
    """Return the cookie value that a browser sends for a session; "" if there is none."""
    return request.cookies.get(cookie_name(page, request.match_info["session"]), "")


def bound_response(
    request: web.Request, page: PageName, session: BoundSession, proof: str, base_url: str
) -> web.Response:
    """Return an answer that gives a browser the cookie for a session.

    Raises:
        ForeignPageError: The request names another session than its link.
    """
    if session.id != request.match_info["session"]:
        raise ForeignPageError("This page and the link do not match.", "Open the link again.")
    response = web.Response(status=HTTPStatus.NO_CONTENT)
    response.set_cookie(
        cookie_name(page, session.id),
        proof,
        path=request.path.removesuffix("/bind"),
        max_age=round((session.expires_at - session.created_at).total_seconds()),
        secure=URL(base_url).scheme == "https",
        httponly=True,
        samesite="Strict",
    )
    return response


def require_own_page(request: web.Request) -> None:
    """Refuse requests that another site's page makes in this browser."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and URL(origin).authority != URL(f"http://{request.host}").authority:
        raise ForeignPageError(
            "This request comes from another page.", "Open the link that Discord gave you."
        )
