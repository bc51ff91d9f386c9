"""The RPCs of volumes, and the HTTP side that serves their files."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aiohttp import web
from google.protobuf.empty_pb2 import Empty
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback import trees
from tests.wire.modal.loopback.blobs import Blobs
from tests.wire.modal.loopback.names import Names
from tests.wire.modal.loopback.reads import Reads
from tests.wire.modal.loopback.rpc import Caller, rpc
from tests.wire.modal.loopback.state import State
from tests.wire.modal.loopback.volumes import View, Volume

BLOCK_BYTES = 8 * 1024 * 1024
OPEN_FILES = "there are open files preventing the operation"


class Volumes:
    """All volumes by id.

    Attributes:
        violations: What containers did to volumes that Modal would have refused or lost.
        view_of: Returns what a container sees of a volume, and its processes.
    """

    def __init__(self, state: State, names: Names, blobs: Blobs) -> None:
        self._names, self._blobs = names, blobs
        self._folder = state.folder("volumes")
        self._reads = Reads(state.folder("reads"))
        self.view_of: Callable[[str, str], tuple[View, list[int]] | None] = lambda _c, _v: None
        self.violations: list[str] = []
        self.volumes: dict[str, Volume] = {}
        for name, volume_id in names.of_kind("Volume").items():
            self._add(volume_id, name)
        blobs.app.router.add_get("/read/{read}/{start}/{length}", self._block)

    def get(self, volume_id: str) -> Volume:
        """Return a volume by its id.

        Raises:
            GRPCError: NOT_FOUND.
        """
        if volume_id not in self.volumes:
            raise GRPCError(Status.NOT_FOUND, f"Volume {volume_id} not found")
        return self.volumes[volume_id]

    async def load(self, view: View) -> None:
        """Bring what is committed into a container's view."""
        async with view.volume.lock:
            await asyncio.to_thread(view.load)

    async def commit(self, view: View) -> None:
        """Commit the view of a container."""
        if view.is_read_only:
            self.check_unchanged(view)
            return
        async with view.volume.lock:
            if not view.is_closed:
                await asyncio.to_thread(view.commit)

    async def close(self, view: View) -> None:
        """Stop committing a container's view; removing its files then changes nothing."""
        async with view.volume.lock:
            view.is_closed = True
        self.check_unchanged(view)

    def check_unchanged(self, view: View) -> None:
        """Note writes to a volume that is mounted read-only; Modal would have refused them."""
        if view.is_read_only and view.is_changed():
            self.violations.append(f"Volume '{view.volume.name}' was written though read-only")

    @rpc
    async def volume_get_or_create(
        self, request: api_pb2.VolumeGetOrCreateRequest, caller: Caller
    ) -> api_pb2.VolumeGetOrCreateResponse:
        if request.version == api_pb2.VOLUME_FS_VERSION_V2:
            raise GRPCError(Status.UNIMPLEMENTED, "The loopback has volumes of version 1 only")
        volume_id, is_new = self._names.resolve("Volume", "vo", request)
        if is_new:
            self._add(volume_id, request.deployment_name)
        return api_pb2.VolumeGetOrCreateResponse(
            volume_id=volume_id,
            version=api_pb2.VOLUME_FS_VERSION_V1,
            metadata=api_pb2.VolumeMetadata(
                version=api_pb2.VOLUME_FS_VERSION_V1, name=self.volumes[volume_id].name
            ),
        )

    @rpc
    async def volume_delete(self, request: api_pb2.VolumeDeleteRequest, caller: Caller) -> Empty:
        volume = self.get(request.volume_id)
        del self.volumes[volume.id]
        self._names.release("Volume", volume.name)
        await asyncio.to_thread(trees.remove, volume.files)
        return Empty()

    @rpc
    async def volume_commit(
        self, request: api_pb2.VolumeCommitRequest, caller: Caller
    ) -> api_pb2.VolumeCommitResponse:
        view, processes = self._mounted(request.volume_id, caller)
        await self.commit(view)
        is_busy = view.open_file(processes) is not None
        return api_pb2.VolumeCommitResponse(skip_reload=is_busy)

    @rpc
    async def volume_reload(self, request: api_pb2.VolumeReloadRequest, caller: Caller) -> Empty:
        view, processes = self._mounted(request.volume_id, caller)
        open_file = view.open_file(processes)
        if open_file is not None:
            text = f"{OPEN_FILES}: path {open_file} is open"
            raise GRPCError(Status.FAILED_PRECONDITION, text)
        await self.commit(view)
        async with view.volume.lock:
            lost = await asyncio.to_thread(view.reload)
        if lost:
            name = view.volume.name
            self.violations.append(f"{', '.join(lost)} written while '{name}' was reloaded")
        return Empty()

    @rpc
    async def volume_list_files(
        self, request: api_pb2.VolumeListFilesRequest, caller: Caller
    ) -> AsyncIterator[api_pb2.VolumeListFilesResponse]:
        volume = self.get(request.volume_id)
        async with volume.lock:  # a commit shows whole or not at all
            path = volume.existing(request.path)
            if not path.is_dir():
                paths = [path]
            else:
                paths = sorted(path.rglob("*") if request.recursive else path.iterdir())
            entries = [_entry(volume, its) for its in paths]
        yield api_pb2.VolumeListFilesResponse(entries=entries)

    @rpc
    async def volume_get_file2(
        self, request: api_pb2.VolumeGetFile2Request, caller: Caller
    ) -> api_pb2.VolumeGetFile2Response:
        volume = self.get(request.volume_id)
        path = volume.existing(request.path)
        if path.is_dir():
            raise GRPCError(Status.INVALID_ARGUMENT, f"{request.path} is a directory")
        size = path.stat().st_size
        end = min(size, request.start + request.len) if request.len else size
        read = self._reads.keep(path)
        urls: list[str] = []
        start = request.start
        while start < end:
            stop = min(end, (start // BLOCK_BYTES + 1) * BLOCK_BYTES)
            urls.append(f"{self._blobs.url}/read/{read}/{start}/{stop - start}")
            start = stop
        return api_pb2.VolumeGetFile2Response(
            get_urls=urls, size=size, start=request.start, len=max(0, end - request.start)
        )

    @rpc
    async def volume_put_files(
        self, request: api_pb2.VolumePutFilesRequest, caller: Caller
    ) -> Empty:
        volume = self.get(request.volume_id)
        if request.disallow_overwrite_existing_files:
            for file in request.files:
                if volume.path(file.filename).exists():
                    raise GRPCError(Status.ALREADY_EXISTS, f"{file.filename} already exists")
        missing = [its for its in request.files if not self._blobs.has_content(its.sha256_hex)]
        if missing:
            text = f"{missing[0].filename} was not uploaded"
            raise GRPCError(Status.FAILED_PRECONDITION, text)
        contents = {its.filename: self._blobs.content(its.sha256_hex) for its in request.files}
        sizes = {path.lstrip("/"): its.stat().st_size for path, its in contents.items()}
        async with volume.lock:
            volume.check_room(sizes)
            volume.add_layer()
            for path, content in contents.items():
                await asyncio.to_thread(trees.copy, content, volume.path(path), volume.staging)
                volume.path(path).touch()
        return Empty()

    @rpc
    async def volume_remove_file(
        self, request: api_pb2.VolumeRemoveFileRequest, caller: Caller
    ) -> Empty:
        volume = self.get(request.volume_id)
        path = volume.existing(request.path)
        if path.is_dir() and not request.recursive:
            raise GRPCError(Status.INVALID_ARGUMENT, f"{request.path} is a directory")
        async with volume.lock:
            volume.add_layer()
            await asyncio.to_thread(trees.remove, path)
        return Empty()

    @rpc
    async def volume_copy_files(
        self, request: api_pb2.VolumeCopyFilesRequest, caller: Caller
    ) -> Empty:
        volume = self.get(request.volume_id)
        sources = [volume.existing(path) for path in request.src_paths]
        target = volume.path(request.dst_path)
        if len(sources) > 1 and not target.is_dir():
            raise GRPCError(Status.INVALID_ARGUMENT, f"{request.dst_path} is not a directory")
        async with volume.lock:
            volume.add_layer()
            for source in sources:
                if source.is_dir() and not request.recursive:
                    raise GRPCError(Status.INVALID_ARGUMENT, f"{source.name} is a directory")
                into = target / source.name if target.is_dir() else target
                await asyncio.to_thread(_copy_tree, source, into, volume.staging)
        return Empty()

    def _add(self, volume_id: str, name: str) -> None:
        files = self._folder / volume_id
        files.mkdir(exist_ok=True)
        self.volumes[volume_id] = Volume(volume_id, name, files)

    def _mounted(self, volume_id: str, caller: Caller) -> tuple[View, list[int]]:
        self.get(volume_id)
        found = self.view_of(caller.container_id or "", volume_id)
        if found is None:
            text = f"Volume {volume_id} is not mounted in this container"
            raise GRPCError(Status.FAILED_PRECONDITION, text)
        return found

    async def _block(self, request: web.Request) -> web.Response:
        match = request.match_info
        path = self._reads.path(match["read"])
        data = await asyncio.to_thread(_read, path, int(match["start"]), int(match["length"]))
        return web.Response(body=data)


def _read(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _copy_tree(source: Path, target: Path, staging: Path) -> None:
    trees.copy(source, target, staging)
    if source.is_dir():
        for path in trees.scan(source):
            trees.copy(source / path, target / path, staging)


def _entry(volume: Volume, path: Path) -> api_pb2.FileEntry:
    its = path.lstat()
    kind = api_pb2.FileEntry.DIRECTORY if path.is_dir() else api_pb2.FileEntry.FILE
    if path.is_symlink():
        kind = api_pb2.FileEntry.SYMLINK
    return api_pb2.FileEntry(
        path=path.relative_to(volume.files).as_posix(),
        type=kind,
        mtime=int(its.st_mtime),
        size=0 if kind == api_pb2.FileEntry.DIRECTORY else its.st_size,
    )
