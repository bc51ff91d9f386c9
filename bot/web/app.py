"""The web side: checkpoints behind signed links, and health. Nothing is listed."""

from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath

from aiohttp import hdrs, web

from bot.service.downloads.archive import ZipMember, stream_zip
from bot.service.downloads.bundle import bundle
from bot.service.downloads.links import LinkExpiredError, LinkForgedError, LinkSigner, Target
from bot.service.threads import in_thread
from training.errors import NotFoundError, TrainingError
from training.ports import Store
from training.store_keys import RunKeys

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STATUS: dict[type[TrainingError], int] = {
    LinkForgedError: 403,
    NotFoundError: 404,
    LinkExpiredError: 410,
}
_HEADERS = {
    hdrs.CACHE_CONTROL: "private, no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def _is_well() -> bool:
    return True


def create_app(
    store: Store, signer: LinkSigner, is_well: Callable[[], bool] = _is_well
) -> web.Application:
    """Return the application that serves the links of `signer` from `store`.

    `is_well` says whether the bot beside it is connected.
    """

    async def health(_request: web.Request) -> web.StreamResponse:
        if is_well():
            return web.json_response({"status": "ok"})
        return web.json_response({"status": "not connected to Discord"}, status=503)

    downloads = _Downloads(store, signer)
    app = web.Application(middlewares=[_explain])
    app.router.add_get("/health", health)
    app.router.add_get("/d/{token}/{name}", downloads.checkpoint)
    app.router.add_get("/z/{token}/{name}", downloads.archive)
    app.on_response_prepare.append(_finish_headers)
    return app


class _Downloads:
    """Serves checkpoints and zips of them."""

    def __init__(self, store: Store, signer: LinkSigner) -> None:
        self._store = store
        self._signer = signer

    async def checkpoint(self, request: web.Request) -> web.StreamResponse:
        """Serve one file, or the part of it that is asked for, so that downloads can go on."""
        name = request.match_info["name"]
        target = self._signer.read(request.match_info["token"], name)
        path = await in_thread(self._existing, target)
        return web.FileResponse(
            path,
            headers={
                hdrs.CONTENT_DISPOSITION: _attachment(name),
                hdrs.CONTENT_TYPE: "application/octet-stream",
            },
        )

    async def archive(self, request: web.Request) -> web.StreamResponse:
        """Serve all checkpoints of a run, or those of one epoch, as one zip."""
        name = request.match_info["name"]
        target = self._signer.read_archive(request.match_info["token"], name)
        members = await in_thread(self._members, target)
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_DISPOSITION: _attachment(name),
                hdrs.CONTENT_TYPE: "application/zip",
            }
        )
        await response.prepare(request)
        if request.method == hdrs.METH_HEAD:
            return response
        blocks = stream_zip(members)
        while block := await in_thread(next, blocks, b""):
            await response.write(block)
        await response.write_eof()
        return response

    def _existing(self, target: Target) -> Path:
        try:
            return self._store.fetch(f"{RunKeys(target.guild, target.run).folder}/{target.file}")
        except FileNotFoundError as error:
            raise NotFoundError(
                f"{PurePosixPath(target.file or '').name} is no longer stored.",
                "Use /download in Discord to see which checkpoints there are.",
            ) from error

    def _members(self, target: Target) -> list[ZipMember]:
        return bundle(self._store, target.guild, target.run, target.epoch)


@web.middleware
async def _explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what was refused into a text with cause and fix."""
    try:
        return await handler(request)
    except TrainingError as error:
        status = _STATUS.get(type(error), 400)
        return web.Response(status=status, text=f"{error.cause}\n{error.fix}\n")
    except web.HTTPNotFound:
        text = "There is nothing at this address.\nUse /download in Discord to get a link.\n"
        return web.Response(status=404, text=text)


async def _finish_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    # aiohttp names itself and its version here.
    response.headers.popall(hdrs.SERVER, None)


def _attachment(name: str) -> str:
    # The name was checked against the link: letters, digits, dots, dashes and underscores.
    return f'attachment; filename="{PurePosixPath(name).name}"'
