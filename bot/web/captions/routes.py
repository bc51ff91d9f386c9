"""Handles the caption page and its requests."""

from aiohttp import hdrs, web

from bot.service.captions.captions import CaptionService
from bot.web.assets import page
from bot.web.bodies import read_body
from bot.web.browser import bound_response, link_proof, link_token, require_own_page
from bot.web.captions.bodies import (
    JudgeBody,
    RefuseBody,
    SaveBody,
    describe,
    describe_judged,
)
from training.dataset.sample_remarks import judge_caption
from training.registry.caption_sessions import CaptionSession

_KEPT = {hdrs.CACHE_CONTROL: "private, max-age=86400, immutable"}


class CaptionRoutes:
    """The handlers of the caption page and of links to it."""

    def __init__(self, service: CaptionService) -> None:
        self._service = service

    def install(self, app: web.Application) -> None:
        route, one = app.router, "/captions/{session}"
        file = "{guild}/{content}/{name:.+}"
        route.add_get("/captions", _page)
        route.add_post(f"{one}/bind", self.bind)
        route.add_get(one, self.state)
        route.add_get(f"{one}/version", self.version)
        route.add_post(f"{one}/judge", self.judge)
        route.add_post(f"{one}/save", self.save)
        route.add_post(f"{one}/leave-out", self.leave_out)
        route.add_post(f"{one}/refuse", self.refuse)
        route.add_get(f"{one}/thumbnails/{file}", self.thumbnail)
        route.add_get(f"{one}/media/{file}", self.media)
        app.on_cleanup.append(self._close)

    async def bind(self, request: web.Request) -> web.StreamResponse:
        """Make the browser that sends this request the only one in which the link works."""
        require_own_page(request)
        session, proof = await self._service.bind(link_token(request), self._proof(request))
        return bound_response(request, "captions", session, proof, self._service.base_url)

    async def state(self, request: web.Request) -> web.StreamResponse:
        session = await self._open(request)
        shown, proposals = await self._service.show(session)
        return web.json_response(describe(session, shown, proposals))

    async def version(self, request: web.Request) -> web.StreamResponse:
        """Tell whether there is anything new; pages ask for it every few seconds."""
        number, proposals = await self._service.newest(await self._open(request))
        return web.json_response({"number": number, "proposals": proposals})

    async def judge(self, request: web.Request) -> web.StreamResponse:
        session = await self._open(request)
        body = await read_body(request, JudgeBody)
        shown, _ = await self._service.show(session)
        trigger = shown.version.trigger
        judged = [describe_judged(judge_caption(text, trigger), text) for text in body.texts]
        return web.json_response(judged)

    async def save(self, request: web.Request) -> web.StreamResponse:
        session = await self._open(request)
        body = await read_body(request, SaveBody)
        stored, refused = await self._service.save(session, body.of_domain())
        return web.json_response(
            {
                "number": stored.version.number,
                "isNew": stored.is_new,
                "refused": [one.name for one in refused],
            }
        )

    async def leave_out(self, request: web.Request) -> web.StreamResponse:
        stored = await self._service.leave_out(await self._open(request))
        return web.json_response({"number": stored.version.number})

    async def refuse(self, request: web.Request) -> web.StreamResponse:
        session = await self._open(request)
        body = await read_body(request, RefuseBody)
        await self._service.refuse(session, body.names)
        return web.json_response({})

    async def thumbnail(self, request: web.Request) -> web.StreamResponse:
        session = await self._look(request)
        data = await self._service.thumbnail(session, request.match_info["name"])
        return web.Response(body=data, content_type="image/jpeg", headers=_KEPT)

    async def media(self, request: web.Request) -> web.StreamResponse:
        """Send a repaired image or clip; browsers play clips with requests for ranges."""
        session = await self._look(request)
        file = await self._service.media(session, request.match_info["name"])
        return web.FileResponse(file, headers=_KEPT)

    async def _open(self, request: web.Request) -> CaptionSession:
        require_own_page(request)
        session = request.match_info["session"]
        return await self._service.open(link_token(request), self._proof(request), session)

    async def _look(self, request: web.Request) -> CaptionSession:
        """Return the session of a request for a file, which carries the cookie alone."""
        require_own_page(request)
        guild, session = request.match_info["guild"], request.match_info["session"]
        return await self._service.look(guild, session, self._proof(request))

    def _proof(self, request: web.Request) -> str:
        return link_proof(request, "captions")

    async def _close(self, _app: web.Application) -> None:
        await self._service.close()


async def _page(_request: web.Request) -> web.StreamResponse:
    return page("captions")
