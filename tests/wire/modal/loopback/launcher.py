"""Runs a container from its place in the queue to its end."""

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.definitions import FunctionRecord
from tests.wire.modal.loopback.gpus import Gpus
from tests.wire.modal.loopback.names import new_id
from tests.wire.modal.loopback.ports import free_port
from tests.wire.modal.loopback.provision import Provision
from tests.wire.modal.loopback.rpc import Caller, Router
from tests.wire.modal.loopback.rpc_server import RpcServer
from tests.wire.modal.loopback.scheduler import Scheduler
from tests.wire.modal.loopback.settings import Clock, Settings
from tests.wire.modal.loopback.volumes import View

KILLED = 128 + 9


@dataclass
class Launcher:
    """Starts containers; keeps what each sees of its volumes.

    Attributes:
        folder: Where the containers' root folders are made.
        sockets: Where their connections lie; a path of a Unix socket has 108 bytes at most.
        router: Serves what they ask.
    """

    settings: Settings
    clock: Clock
    provision: Provision
    gpus: Gpus
    scheduler: Scheduler
    folder: Path
    sockets: Path
    router: Router | None = None
    _views: dict[str, dict[str, View]] = field(default_factory=dict[str, dict[str, View]])

    def start(self, record: FunctionRecord) -> Container:
        """Start a container of a function; it runs in a task of its own."""
        definition = record.definition
        assert definition is not None  # only published functions run
        container_id = new_id("ta")
        container = Container(
            id=container_id,
            function=record,
            definition_id=definition.id,
            definition=definition.function,
            root=self.folder / container_id,
            enqueued_at=self.clock.now(),
        )
        self.scheduler.containers[container.id] = container
        running = self._run(container, definition.ranked)
        container.task = asyncio.create_task(running, name=container.id)
        return container

    def view(self, container_id: str, volume_id: str) -> tuple[View, list[int]] | None:
        """Return what a container sees of a volume, and its processes."""
        container = self.scheduler.containers.get(container_id)
        view = self._views.get(container_id, {}).get(volume_id)
        if container is None or view is None or container.process is None:
            return None
        try:
            processes = psutil.Process(container.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return None
        return view, [process.pid for process in processes]

    def views(self) -> list[View]:
        """Return what the living containers see."""
        return [view for views in self._views.values() for view in views.values()]

    async def _run(self, container: Container, ranked: list[api_pb2.Function]) -> None:
        try:
            chosen = await self.gpus.take(container.id, container.name, ranked)
            container.definition = self._with_port(container, chosen)
            if container.state == "queued":
                container.state = "starting"
                await self._execute(container)
        finally:
            self.gpus.release(container.id)
            self._views.pop(container.id, None)
            self.scheduler.ended(container)

    def _with_port(self, container: Container, chosen: api_pb2.Function) -> api_pb2.Function:
        """Give a server a port of its own: all containers share the host's."""
        if not chosen.is_server:
            return chosen
        function = api_pb2.Function()
        function.CopyFrom(chosen)
        container.port = function.http_config.port = free_port()
        return function

    async def _execute(self, container: Container) -> None:
        await asyncio.sleep(self.settings.cold_start_seconds)
        views = await self.provision.fill(container)
        self._views[container.id] = views
        assert self.router is not None  # set before anything is deployed
        server = RpcServer(self.router, Caller(container.id))
        url = await server.listen(self.sockets / container.id)
        try:
            env = self.provision.env(container, url)
            await container.run(self.provision.python, env, self.clock.now)
        finally:
            await server.stop()
            (self.sockets / container.id).unlink(missing_ok=True)
        await self._last_commit(container, views)
        await asyncio.to_thread(shutil.rmtree, container.root, ignore_errors=True)

    async def _last_commit(self, container: Container, views: dict[str, View]) -> None:
        """Commit what a container left, unless it was killed: then that is lost."""
        if container.exit_code == KILLED:
            return
        for view in views.values():
            try:
                await self.provision.volumes.commit(view)
            except GRPCError:  # the volume is full, as the container was told
                continue
