"""A server of files for imports, and imports that may read from it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import hdrs, web

from bot.service.imports.imports import GuildToken, ImportOptions, Imports, no_guild_token
from bot.service.imports.public_web import WebRules
from bot.service.imports.sources import Services
from bot.service.uploads.uploads import UploadService
from tests.unit.bot.web.upload_side import DATA

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
HERE = WebRules(schemes=("http",), is_allowed=lambda address: address == "127.0.0.1")


@dataclass
class Files:
    """A server of files on this machine, which stands for others on the internet."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    asked: list[web.Request] = field(default_factory=list[web.Request])

    def serve(self, path: str, data: bytes = DATA, **headers: str) -> str:
        async def answer(request: web.Request) -> web.StreamResponse:
            shown = {"ETag": '"1"', **{name.replace("_", "-"): v for name, v in headers.items()}}
            shown = {name: value for name, value in shown.items() if value}
            start, tag = (
                request.http_range.start or 0,
                shown.get("ETag", shown.get("Last-Modified")),
            )
            if not start or request.headers.get(hdrs.IF_RANGE, tag) != tag:
                return web.Response(body=data, headers=shown)
            shown["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return web.Response(status=206, body=data[start:], headers=shown)

        self.answers[path] = answer
        return f"{self.url}{path}"

    def redirect(self, path: str, target: str) -> str:
        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": target})

        self.answers[path] = answer
        return f"{self.url}{path}"

    def cut(self, path: str, sent: int, then: Answer | None = None) -> None:
        """Cut the next answer after so many bytes; `then` answers further requests."""
        whole = self.answers[path]

        async def answer(request: web.Request) -> web.StreamResponse:
            self.answers[path] = then or whole
            shown = (await whole(request)).headers
            names = (hdrs.ETAG, hdrs.LAST_MODIFIED)
            told = {name: shown[name] for name in names if name in shown}
            response = web.StreamResponse(headers=told)
            response.content_length = len(DATA)
            await response.prepare(request)
            await response.write(DATA[:sent])
            await asyncio.sleep(0.05)  # what the client has not read when it is cut off is lost
            assert request.transport is not None
            request.transport.close()
            return response

        self.answers[path] = answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        found = self.answers.get(request.path)
        return await found(request) if found is not None else web.Response(status=404)


def importer(
    files: Files,
    uploads: UploadService,
    *,
    pauses: tuple[float, ...] = (0.0,) * 5,
    token: GuildToken = no_guild_token,
    services: Services | None = None,
) -> Imports:
    plain = Services(drive_pages=frozenset(), dropbox_pages=frozenset(), hub=files.url)
    options = ImportOptions(rules=HERE, services=services or plain, pauses_seconds=pauses)
    return Imports(uploads, options=options, token=token)
