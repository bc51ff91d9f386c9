"""The REST pipeline: faults, authorization, rate limits, schema checks, response."""

import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from bot.sandbox.openapi_check import (
    Operation,
    check_parameters,
    check_request,
    check_response,
    operation,
)
from bot.sandbox.sandbox import Sandbox
from bot.sandbox.wire import MAX_REQUEST_BYTES, ApiError, Json
from bot.sandbox.world.attachments import FilePart

logger = logging.getLogger(__name__)

PREFIX = "/api/v10"
_FILE_FIELD = re.compile(r"^files\[(\d+)\]$")


@dataclass(frozen=True, slots=True)
class RestCall:
    """One parsed and validated request."""

    path: dict[str, str]
    query: dict[str, str]
    body: Any
    uploads: dict[int, FilePart] = field(default_factory=dict[int, FilePart])


@dataclass(frozen=True, slots=True)
class Created:
    """A response with status 201."""

    body: Json


# Returns the body of the response; None means status 204.
Handler = Callable[[RestCall], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """An operation of the OpenAPI document and its handler."""

    method: str
    template: str
    handler: Handler
    needs_token: bool = True


class Handlers:
    """Base class for the handlers of a group of routes; gives them the parts of the sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.world, self.changes, self.views = sandbox.world, sandbox.changes, sandbox.views
        self.messages, self.threads = sandbox.messages, sandbox.threads
        self.bot_id = str(self.world.bot["id"])

    def channel(self, call: RestCall, *needed: int) -> Json:
        """Return the channel in the path; raise the API's error if the bot lacks a permission."""
        channel = self.world.channel(call.path["channel_id"])
        self.world.require(self.bot_id, channel, *needed)
        return channel


class Rest:
    """Checks every request, passes it to its handler and checks the response."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox, self._token = sandbox, sandbox.bot_token
        self.mistakes: list[str] = []  # responses of the sandbox itself that break the schema

    def install(self, app: web.Application, routes: list[Route]) -> None:
        """Add the routes to the web application; all other paths return 404."""
        # aiohttp takes the first match, so `@original` must come before `{message_id}`.
        for route in sorted(routes, key=lambda one: "{" in one.template.rsplit("/", 1)[-1]):
            handler = self._bound(route, operation(route.method, route.template))
            app.router.add_route(route.method, PREFIX + route.template, handler)
        app.router.add_route("*", "/api/{rest:.*}", _not_found)

    def _bound(
        self, route: Route, operation: Operation
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            headers: dict[str, str] = {}
            moment = self._sandbox.faults.take_reset(operation.name)
            if moment == "before":
                return _reset(request)
            try:
                await self._sandbox.faults.strike(operation.name)
                self._authorize(request, route)
                path = dict(request.match_info)
                headers = self._sandbox.limits.take(operation.name, path)
                check_parameters(operation, path, dict(request.query))
                call = await _parse(request, path)
                check_request(operation, call.body)
                body = route.handler(call)
            except ApiError as error:
                return _json(error.body(), error.status, headers | error.headers)
            if moment == "after":
                return _reset(request)
            if isinstance(body, Created):
                return self._answer(operation, 201, body.body, headers)
            return self._answer(operation, 204 if body is None else 200, body, headers)

        return handle

    def _answer(
        self, operation: Operation, status: int, body: Any, headers: dict[str, str]
    ) -> web.StreamResponse:
        if mistake := check_response(operation, status, body):
            self.mistakes.append(mistake)
            logger.error("Sandbox response breaks the schema: %s", mistake)
        if body is None:
            return web.Response(status=status, headers=headers)
        return _json(body, status, headers)

    def _authorize(self, request: web.Request, route: Route) -> None:
        given = request.headers.get("Authorization")
        if route.needs_token and given != f"Bot {self._token}":
            raise ApiError(401, 0, "401: Unauthorized")


def _reset(request: web.Request) -> web.StreamResponse:
    """Reset the connection instead of sending a response."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def _not_found(_: web.Request) -> web.StreamResponse:
    return _json({"message": "404: Not Found", "code": 0}, 404, {})


def _json(body: Any, status: int, headers: dict[str, str]) -> web.StreamResponse:
    # discord.py compares the content type literally, so add no charset to it.
    return web.Response(
        body=json.dumps(body).encode(),
        status=status,
        headers={**headers, "Content-Type": "application/json"},
    )


async def _parse(request: web.Request, path: dict[str, str]) -> RestCall:
    query = dict(request.query)
    if request.content_type == "multipart/form-data":
        body, uploads = await _multipart(request)
        return RestCall(path, query, body, uploads)
    raw = await request.read()
    if len(raw) > MAX_REQUEST_BYTES:
        raise ApiError(413, 40005, "Request entity too large")
    if not raw:
        return RestCall(path, query, None)
    if request.content_type != "application/json":
        raise ApiError(400, 50035, "Invalid Form Body", {"_errors": [_WRONG_TYPE]})
    return RestCall(path, query, _decoded(raw))


_WRONG_TYPE: Json = {
    "code": "CONTENT_TYPE_INVALID",
    "message": 'Expected "Content-Type" header to be one of {"application/json"}.',
}


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise ApiError(400, 50109, "The request body contains invalid JSON.") from error


async def _multipart(request: web.Request) -> tuple[Any, dict[int, FilePart]]:
    body: Any = {}
    uploads: dict[int, FilePart] = {}
    total = 0
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise ApiError(400, 50035, "Invalid Form Body")
        content = bytes(await part.read())
        total += len(content)
        if part.name == "payload_json":
            body = _decoded(content)
        elif part.name and (match := _FILE_FIELD.match(part.name)):
            uploads[int(match[1])] = FilePart(part.filename or "file", content)
    if total > MAX_REQUEST_BYTES:
        raise ApiError(413, 40005, "Request entity too large")
    return body, uploads
