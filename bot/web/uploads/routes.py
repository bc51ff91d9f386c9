"""Handles the upload page and its requests."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web

from bot.messages.datasets.actions import LABELS, PRIVATE, action_named
from bot.messages.uploads import target_text, title_text
from bot.service.dataset_answers import DatasetAnswer
from bot.service.uploads.checking import person_of
from bot.service.uploads.uploads import OpenUpload, UploadService
from bot.web.assets import page
from bot.web.bodies import Body, read_body
from bot.web.browser import bound_response, link_proof, link_token, require_own_page
from bot.web.uploads import protocol as tus
from training.dataset.zip.directory import PART_NAME
from training.dataset.zip.members import ARCHIVES, CAPTIONS, MEDIA
from training.errors import RequestError
from training.registry.uploads.files import IncomingFile, WrongOffsetError

_SILENCE_SECONDS = 60.0


class _Press(Body):
    """A button pressed below an answer."""

    action: str
    about: str


class UploadRoutes:
    """The handlers of the upload page and of upload links."""

    def __init__(self, service: UploadService) -> None:
        self._service = service
        self._is_stopping = False

    def install(self, app: web.Application) -> None:
        route, one = app.router, "/uploads/{session}"
        route.add_get("/upload", _page)
        route.add_post(f"{one}/bind", self.bind)
        route.add_get(one, self.state)
        route.add_delete(one, self.revoke)
        route.add_post(f"{one}/finish", self.finish)
        route.add_get(f"{one}/answer", self.answer)
        route.add_post(f"{one}/actions", self.act)
        route.add_options(f"{one}/files", self.options)
        route.add_post(f"{one}/files", self.create)
        route.add_head(f"{one}/files/{{file}}", self.head)
        route.add_patch(f"{one}/files/{{file}}", self.patch)
        route.add_delete(f"{one}/files/{{file}}", self.terminate)
        app.on_shutdown.append(self._stop)

    async def bind(self, request: web.Request) -> web.StreamResponse:
        """Make the browser that sends this request the only one in which the link works.

        Fetching the page does not do this, because chat programs fetch links to show a preview.
        """
        require_own_page(request)
        session, proof = await self._service.bind(link_token(request), self._proof(request))
        return bound_response(request, "upload", session, proof, self._service.base_url)

    async def state(self, request: web.Request) -> web.StreamResponse:
        upload = await self._open(request)
        return web.json_response(self._describe(upload))

    async def revoke(self, request: web.Request) -> web.StreamResponse:
        session = (await self._open(request)).session
        await self._service.revoke(person_of(session), session.id)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def finish(self, request: web.Request) -> web.StreamResponse:
        await self._service.finish(await self._open(request))
        return web.Response(status=HTTPStatus.ACCEPTED)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        upload = await self._open(request)
        found = await self._service.answer(upload.session, upload.state)
        return web.json_response(None if found is None else _answer(found))

    async def act(self, request: web.Request) -> web.StreamResponse:
        upload = await self._open(request)
        press = await read_body(request, _Press)
        action = action_named(press.action)
        if action is None:
            raise RequestError("There is no such button.", "Reload the page.")
        return web.json_response(_answer(await self._service.act(upload, action, press.about)))

    async def options(self, _request: web.Request) -> web.StreamResponse:
        headers = {
            "Tus-Resumable": tus.VERSION,
            "Tus-Version": tus.VERSION,
            "Tus-Extension": tus.EXTENSIONS,
            "Tus-Max-Size": str(self._service.limits.archive_bytes),
        }
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)

    async def create(self, request: web.Request) -> web.StreamResponse:
        tus.require_version(request)
        upload = await self._open(request)
        file = await self._service.add_file(upload, tus.facts(request))
        location = f"/uploads/{upload.session.id}/files/{file.facts.id}"
        headers = {hdrs.LOCATION: location, **_expiry(upload)}
        return web.Response(status=HTTPStatus.CREATED, headers=headers)

    async def head(self, request: web.Request) -> web.StreamResponse:
        tus.require_version(request)
        upload, file = await self._file(request)
        offset = str(file.received_bytes)
        headers = {"Upload-Offset": offset, **tus.describe(file.facts), **_expiry(upload)}
        return web.Response(headers=headers)

    async def patch(self, request: web.Request) -> web.StreamResponse:
        tus.require_version(request)
        tus.require_body(request)
        upload, file = await self._file(request)
        offset, length = tus.number(request, "Upload-Offset"), request.content_length
        if length is None or offset + length > file.facts.size_bytes:
            raise tus.TusError(HTTPStatus.BAD_REQUEST, "The body extends past the end of the file.")
        try:
            async with self._service.receiving(upload, file, offset) as sink:
                async for block in self._blocks(request):
                    await sink.write(block)
        except WrongOffsetError as error:
            raise tus.TusError(HTTPStatus.CONFLICT, f"{error}.") from error
        headers = {"Upload-Offset": str(sink.offset), **_expiry(upload)}
        is_whole = sink.offset == offset + length
        status = HTTPStatus.NO_CONTENT if is_whole else HTTPStatus.SERVICE_UNAVAILABLE
        return web.Response(status=status, headers=headers)

    async def terminate(self, request: web.Request) -> web.StreamResponse:
        tus.require_version(request)
        upload = await self._open(request)
        await self._service.remove_file(upload, request.match_info["file"])
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _blocks(self, request: web.Request) -> AsyncIterator[bytes]:
        """Yield the body until it ends, the sender falls silent, or the server stops."""
        while not self._is_stopping:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    block = await request.content.readany()
            except (TimeoutError, ConnectionError):
                return
            if not block:
                return
            yield block

    async def _open(self, request: web.Request) -> OpenUpload:
        require_own_page(request)
        session = request.match_info["session"]
        return await self._service.open(link_token(request), self._proof(request), session)

    async def _file(self, request: web.Request) -> tuple[OpenUpload, IncomingFile]:
        upload = await self._open(request)
        return upload, await self._service.file(upload, request.match_info["file"])

    def _proof(self, request: web.Request) -> str:
        return link_proof(request, "upload")

    async def _stop(self, _app: web.Application) -> None:
        """Stop receiving: each running request ends at its next block, and the sender retries."""
        self._is_stopping = True

    def _describe(self, upload: OpenUpload) -> dict[str, Any]:
        session, limits = upload.session, self._service.limits
        return {
            "title": title_text(session.target),
            "about": target_text(session.target),
            "kind": session.target.kind,
            "expires": session.expires_at.isoformat(),
            "limits": {
                "bytes": limits.archive_bytes,
                "files": limits.files,
                "unpacked": limits.unpacked_bytes,
                "media": sorted(MEDIA),
                "captions": sorted(CAPTIONS),
                "archives": sorted(ARCHIVES - {".zip"}),
                "parts": PART_NAME,
            },
            "status": upload.state.status,
            "result": upload.state.result.kind if upload.state.result else None,
            "progress": upload.progress,
            "files": [_describe_file(session.id, file) for file in upload.files],
        }


def _describe_file(session: str, file: IncomingFile) -> dict[str, Any]:
    found = file.facts
    return {
        "id": found.id,
        "path": found.path,
        "size": found.size_bytes,
        "modified": found.modified_ms,
        "received": file.received_bytes,
        "url": f"/uploads/{session}/files/{found.id}",
    }


def _answer(answer: DatasetAnswer) -> dict[str, Any]:
    return {
        "card": asdict(answer.card),
        "files": [
            {"name": file.name, "data": base64.b64encode(file.data).decode(), "alt": file.alt}
            for file in answer.files
        ],
        "link": (
            {"label": answer.link.label, "url": answer.link.url}
            if answer.link is not None
            else None
        ),
        "about": answer.about,
        "actions": [
            {
                "name": action,
                "label": LABELS[action][0],
                "style": LABELS[action][1],
                "isPrivate": action in PRIVATE,
            }
            for action in answer.actions
        ],
    }


def _expiry(upload: OpenUpload) -> dict[str, str]:
    until = upload.session.expires_at.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return {"Tus-Resumable": tus.VERSION, "Upload-Expires": until}


async def _page(_request: web.Request) -> web.StreamResponse:
    return page("uploads")
