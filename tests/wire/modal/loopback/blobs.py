"""Bytes that travel over HTTP next to the RPCs: blobs, and files by their hash."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback.names import new_id
from tests.wire.modal.loopback.rpc import Caller, rpc
from tests.wire.modal.loopback.settings import Settings
from tests.wire.modal.loopback.state import State

CHUNK_BYTES = 1 << 20
SLOW = "SlowDown: Please reduce your request rate."


class Blobs:
    """Blobs by id and contents by SHA-256, each a file.

    Attributes:
        url: Where the HTTP side listens.
        app: The HTTP side; others add their routes before it starts.
    """

    def __init__(self, state: State, settings: Settings) -> None:
        self._settings = settings
        self._blobs, self._contents = state.folder("blobs"), state.folder("contents")
        self.url = ""
        self.app = web.Application(client_max_size=1 << 40, middlewares=[self._pass])
        self.app.router.add_put("/blob/{blob}", self._put)
        self.app.router.add_get("/blob/{blob}", self._get)
        self._runner = web.AppRunner(self.app, access_log=None)

    async def start(self) -> None:
        """Listen on a free port."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close the port."""
        await self._runner.cleanup()

    def has_content(self, sha256: str) -> bool:
        """Return whether the file of a hash was uploaded."""
        return self.content(sha256).exists()

    def content(self, sha256: str) -> Path:
        """Return the file of a hash."""
        return self._contents / sha256

    def put_content(self, sha256: str, data: bytes) -> None:
        """Store the file of a hash.

        Raises:
            GRPCError: INVALID_ARGUMENT, the hash is another one.
        """
        if hashlib.sha256(data).hexdigest() != sha256:
            raise GRPCError(Status.INVALID_ARGUMENT, "The content does not have its SHA-256.")
        self.content(sha256).write_bytes(data)

    def adopt_content(self, sha256: str, blob_id: str) -> None:
        """Store an uploaded blob as the file of a hash."""
        blob = self._blob(blob_id)
        if blob.exists():
            blob.replace(self.content(sha256))

    @rpc
    async def blob_create(
        self, request: api_pb2.BlobCreateRequest, caller: Caller
    ) -> api_pb2.BlobCreateResponse:
        blob = new_id("bl")
        urls = api_pb2.UploadUrlList(items=[f"{self.url}/blob/{blob}"])
        return api_pb2.BlobCreateResponse(blob_ids=[blob], upload_urls=urls)

    @rpc
    async def blob_get(
        self, request: api_pb2.BlobGetRequest, caller: Caller
    ) -> api_pb2.BlobGetResponse:
        if not self._blob(request.blob_id).exists():
            raise GRPCError(Status.NOT_FOUND, f"Blob {request.blob_id} not found")
        return api_pb2.BlobGetResponse(download_url=f"{self.url}/blob/{request.blob_id}")

    def _blob(self, blob_id: str) -> Path:
        return self._blobs / Path(blob_id).name

    @web.middleware
    async def _pass(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Serve a transfer, unless the settings refuse it."""
        status = self._settings.refuse_transfer(request.method)
        return await handler(request) if status is None else web.Response(status=status, text=SLOW)

    async def _put(self, request: web.Request) -> web.Response:
        digest = hashlib.md5(usedforsecurity=False)
        path = self._blob(request.match_info["blob"])
        with await asyncio.to_thread(path.open, "wb") as file:
            async for chunk in request.content.iter_chunked(CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
        return web.Response(headers={"ETag": f'"{digest.hexdigest()}"'})

    async def _get(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self._blob(request.match_info["blob"]))
