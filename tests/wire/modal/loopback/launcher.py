"""Runs a container from its place in the queue to its end."""

import asyncio
import codecs
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback.changes import Changes
from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.definitions import FunctionRecord
from tests.wire.modal.loopback.gpus import Gpus
from tests.wire.modal.loopback.logs import Logs, split_lines
from tests.wire.modal.loopback.names import new_id
from tests.wire.modal.loopback.ports import free_port
from tests.wire.modal.loopback.provision import Provision
from tests.wire.modal.loopback.rpc import Caller, Router
from tests.wire.modal.loopback.rpc_server import RpcServer
from tests.wire.modal.loopback.scheduler import Scheduler
from tests.wire.modal.loopback.settings import Clock, Settings
from tests.wire.modal.loopback.tasks import Tasks
from tests.wire.modal.loopback.volumes import View


@dataclass
class Launcher:
    """Starts containers; keeps what each sees of its volumes.

    Attributes:
        folder: Where the containers' root folders are made.
        short: Where their sockets and temporary files lie, under short names: the path of a Unix
            socket has 108 bytes at most.
        router: Serves what they ask.
        pulled: Images that a container has had to pull, with how long its start took.
    """

    settings: Settings
    clock: Clock
    provision: Provision
    gpus: Gpus
    scheduler: Scheduler
    logs: Logs
    tasks: Tasks
    changes: Changes
    folder: Path
    short: Path
    router: Router | None = None
    pulled: dict[str, float] = field(default_factory=dict[str, float])
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
        container.task = self.tasks.start(running, container.id)
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

    def views(self) -> list[tuple[View, list[int]]]:
        """Return what the living containers see of each volume, and their processes."""
        found = [self.view(its, volume) for its, views in self._views.items() for volume in views]
        return [its for its in found if its is not None]

    async def _run(self, container: Container, ranked: list[api_pb2.Function]) -> None:
        try:
            chosen = await self.gpus.take(container.id, container.name, ranked)
            container.definition = self._with_port(container, chosen)
            if container.state == "queued":
                container.state = "starting"
                await self._execute(container)
        except GRPCError as error:  # a volume that it mounts is gone
            line = f"{error.message}\n"
            self.logs.add(container, self.clock.now(), line, is_error=True)
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
        await self._start_cold(container.definition.image_id)
        views = await self.provision.fill(container)
        self._views[container.id] = views
        assert self.router is not None  # set before anything is deployed
        server = RpcServer(self.router, Caller(container.id))
        short = self.short / container.id
        (short / "tmp").mkdir(parents=True)
        url = await server.listen(short / "socket")
        try:
            env = self.provision.env(container, url) | {"TMPDIR": str(short / "tmp")}
            limit = container.definition.startup_timeout_secs
            asyncio.get_running_loop().call_later(limit, self._give_up, container)
            await container.run(self.provision.starter, env, partial(self._keep, container))
        finally:
            await server.stop()
        for view in views.values():
            await self.provision.volumes.close(view)
        for folder in (container.root, short):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _start_cold(self, image_id: str) -> None:
        """Wait as long as a container takes to start; a test may shorten it meanwhile."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        is_first = image_id not in self.pulled
        self.pulled.setdefault(image_id, 0.0)

        def seconds() -> float:
            pull = self.settings.first_pull_seconds if is_first else 0.0
            return self.settings.cold_start_seconds + pull

        while (left := begun + (before := seconds()) - loop.time()) > 0:
            await self.changes.wait_for(lambda before=before: seconds() != before, left)
        if is_first:
            self.pulled[image_id] = loop.time() - begun

    async def _keep(
        self, container: Container, stream: asyncio.StreamReader, is_error: bool
    ) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while data := await stream.read(1 << 16):
            lines, rest = split_lines(rest + decoder.decode(data))
            for line in lines:
                self.logs.add(container, self.clock.now(), line, is_error=is_error)
        if rest:
            self.logs.add(container, self.clock.now(), rest, is_error=is_error)

    def _give_up(self, container: Container) -> None:
        """Kill a container that does not start in time."""
        is_late = container.state == "starting" and not container.is_ready
        if is_late and not container.definition.is_server:
            seconds = container.definition.startup_timeout_secs
            container.failure = api_pb2.GenericResult(
                status=api_pb2.GenericResult.GENERIC_STATUS_INIT_FAILURE,
                exception=f"The container did not start within {seconds} s",
            )
            container.kill()
