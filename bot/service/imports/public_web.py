"""An HTTP client that reaches only public addresses: it checks every redirect and DNS answer."""

import ipaddress
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import aiohttp
from aiohttp import hdrs
from yarl import URL

from training.errors import RequestError, TrainingError

_MOST_REDIRECTS = 10
_MOST_JSON_BYTES = 32 << 20
_CONNECT_SECONDS, _SILENCE_SECONDS = 20.0, 60.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MOVED = frozenset({301, 302, 303, 307, 308})
_TRY_LATER = frozenset({408, 425, 429})


class AddressRefusedError(RequestError):
    """Files cannot be imported from this URL."""


class ConnectionLostError(TrainingError):
    """The other server cannot be reached or is busy; trying again later may help."""


class _PrivateAddressError(OSError):
    """A host name resolves to an address in a private network."""


def is_public(address: str) -> bool:
    """Return whether an IP address is public.

    An IPv6 address that embeds an IPv4 address is public if the IPv4 address is.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo and found.teredo[1])
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return found.is_global and not found.is_multicast


@dataclass(frozen=True, slots=True)
class WebRules:
    """Which URLs and IP addresses may be requested; tests also allow those of this machine."""

    schemes: tuple[str, ...] = ("https",)
    is_allowed: Callable[[str], bool] = is_public


class PublicWeb:
    """An HTTP client for URLs given by users."""

    def __init__(self, rules: WebRules | None = None) -> None:
        self._rules = rules or WebRules()

        # Check the IP address that the connection really uses: a separate DNS lookup before it
        # could return another one.
        def connect(info: Any) -> socket.socket:  # aiohttp leaves the address untyped
            family, kind, protocol, _name, address = info
            if not self._rules.is_allowed(str(address[0])):
                raise _PrivateAddressError("not a public address")
            return socket.socket(family, kind, protocol)

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=connect, limit=8),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS
            ),
            cookie_jar=aiohttp.CookieJar(unsafe=False),
            auto_decompress=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._session.close()

    @asynccontextmanager
    async def get(
        self, address: str, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Yield the successful response from the URL `address`, after any redirects.

        An Authorization header is sent to the first host only.

        Raises:
            AddressRefusedError: The address is not public, or the server refuses the request.
            ConnectionLostError: The server cannot be reached, or is busy.
        """
        url, sent = self._checked(address), {hdrs.ACCEPT_ENCODING: "identity", **(headers or {})}
        for _ in range(_MOST_REDIRECTS):
            async with self._asked(url, sent) as answer:
                if answer.status not in _MOVED:
                    _require_success(answer)
                    yield answer
                    return
                target = self._checked(str(url.join(URL(answer.headers.get(hdrs.LOCATION, "")))))
            if target.origin() != url.origin():
                sent.pop(hdrs.AUTHORIZATION, None)
            url = target
        raise AddressRefusedError(f"{url.host} redirects too often.", "Check the link.")

    async def json(self, address: str, headers: Mapping[str, str]) -> tuple[Any, str | None]:
        """Return the JSON document at the URL `address`, and the URL of its next page, if any."""
        async with self.get(address, headers) as answer:
            body = b""
            async for block in self.blocks(answer):
                body += block
                if len(body) > _MOST_JSON_BYTES:
                    raise AddressRefusedError(
                        f"The list of files on {answer.url.host} is too long.",
                        "Zip the files and give a link to the zip.",
                    )
            following = str(answer.links["next"]["url"]) if "next" in answer.links else None
        try:
            return json.loads(body), following
        except ValueError as error:
            raise AddressRefusedError(
                f"{answer.url.host} sent no list of files.", "Check the link."
            ) from error

    async def blocks(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Yield the body of an answer, block by block.

        Raises:
            ConnectionLostError: The connection is lost, or nothing arrives for too long.
        """
        try:
            while block := await answer.content.readany():
                yield block
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _lost(answer.url, error) from error

    @asynccontextmanager
    async def _asked(
        self, url: URL, headers: Mapping[str, str]
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        try:
            answer = await self._session.get(url, headers=headers, allow_redirects=False)
        except aiohttp.InvalidURL as error:
            raise _no_address() from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, _PrivateAddressError):
                raise _private(url) from error
            raise _lost(url, error) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _lost(url, error) from error
        try:
            yield answer
        finally:
            answer.close()

    def _checked(self, address: str) -> URL:
        """Parse a URL; raise `AddressRefusedError` if the bot may not request it."""
        try:
            url = URL(address)
            is_usable = url.scheme in self._rules.schemes and bool(url.host) and not url.user
        except ValueError:
            is_usable = False
        if not is_usable:
            raise _no_address()
        return URL(address)


def _require_success(answer: aiohttp.ClientResponse) -> None:
    status, host = answer.status, answer.url.host
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_LATER:
        raise ConnectionLostError(f"{host} answered with HTTP {status}.", "Try again later.")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise AddressRefusedError(
            f"{host} does not let the bot read this file (HTTP {status}).",
            "Share it with everyone who has the link. For a private or gated repository on "
            "huggingface.co, a server manager can set a token with /settings.",
        )
    raise AddressRefusedError(
        f"{host} answered with HTTP {status}.", "Check that the link still works."
    )


def _no_address() -> AddressRefusedError:
    return AddressRefusedError(
        "The bot cannot import from this link.",
        "Give an https link to a zip, a Google Drive or Dropbox share, or a dataset on "
        "huggingface.co.",
    )


def _private(url: URL) -> AddressRefusedError:
    return AddressRefusedError(
        f"{url.host} is not on the public internet.", "Upload the files with /dataset upload."
    )


def _lost(url: URL, error: Exception) -> ConnectionLostError:
    return ConnectionLostError(
        f"{url.host} cannot be reached ({type(error).__name__}).",
        "Check the link, or try again later.",
    )
