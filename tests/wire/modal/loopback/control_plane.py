"""The control plane: all parts put together, started and stopped."""

import asyncio
import tempfile
from pathlib import Path

from tests.wire.modal.loopback import trees
from tests.wire.modal.loopback.apps import App, Apps
from tests.wire.modal.loopback.assets import Images, Mounts, Secrets
from tests.wire.modal.loopback.background import BackgroundCommits
from tests.wire.modal.loopback.blobs import Blobs
from tests.wire.modal.loopback.calls import Calls
from tests.wire.modal.loopback.changes import Changes
from tests.wire.modal.loopback.container_rpcs import Containers
from tests.wire.modal.loopback.definitions import FunctionRecord
from tests.wire.modal.loopback.dicts import Dicts
from tests.wire.modal.loopback.functions import Functions
from tests.wire.modal.loopback.gpus import Gpus
from tests.wire.modal.loopback.launcher import Launcher
from tests.wire.modal.loopback.layout import Layouts
from tests.wire.modal.loopback.listings import Listings
from tests.wire.modal.loopback.logs import Logs
from tests.wire.modal.loopback.names import Names
from tests.wire.modal.loopback.provision import Provision
from tests.wire.modal.loopback.queues import Queues
from tests.wire.modal.loopback.rpc import Caller, Router
from tests.wire.modal.loopback.rpc_server import RpcServer
from tests.wire.modal.loopback.scheduler import Scheduler
from tests.wire.modal.loopback.schedules import Schedules
from tests.wire.modal.loopback.servers import Servers
from tests.wire.modal.loopback.settings import Clock, Settings
from tests.wire.modal.loopback.starter import starter
from tests.wire.modal.loopback.state import State
from tests.wire.modal.loopback.tasks import Tasks
from tests.wire.modal.loopback.volume_rpcs import Volumes
from tests.wire.modal.loopback.workspace import Workspace


class ControlPlane:
    """One workspace of Modal on loopback."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.settings, self.clock, self.changes = settings, Clock(), Changes()
        self.tasks = Tasks()
        self.state = State(root.resolve())
        self.names = Names(self.state)
        self.blobs = Blobs(self.state, settings)
        self.apps = Apps(self.state, self.clock)
        self.functions = Functions(self.state, self.apps, self.names)
        self.images = Images(self.state, settings)
        self.secrets = Secrets(self.state, self.names)
        self.mounts = Mounts(self.state, self.names, self.blobs)
        self.dicts = Dicts(self.state, self.names, self.clock)
        self.volumes = Volumes(self.state, self.names, self.blobs)
        self.layouts = Layouts(self.apps, self.functions, self.names)
        self.gpus = Gpus(settings, self.changes)
        self.scheduler = Scheduler(settings, self.clock, self.changes)
        self.servers = Servers(self.state, settings, self.scheduler, self.changes, self.tasks)
        self.calls = Calls(self.functions, self.scheduler, self.clock, self.changes)
        self.schedules = Schedules(self.apps, self.functions, self.calls, settings, self.changes)
        self.logs = Logs(self.apps, self.scheduler, self.changes)
        self.queues = Queues(self.names, self.changes)
        self.listings = Listings(self.apps, self.names, self.scheduler, settings)
        self._short = self._make_short()
        trees.remove(self.state.root / "containers")  # of a control plane that was killed
        self.launcher = Launcher(
            settings=settings,
            clock=self.clock,
            provision=self._provision(),
            gpus=self.gpus,
            scheduler=self.scheduler,
            logs=self.logs,
            tasks=self.tasks,
            changes=self.changes,
            folder=self.state.folder("containers"),
            short=self._short,
        )
        self.background = BackgroundCommits(self.launcher, self.volumes, settings, self.changes)
        self._clocks: list[asyncio.Task[None]] = []
        self.router = Router(self._parts(), settings)
        self._connect()
        self._server = RpcServer(self.router, Caller())
        self.url = ""

    async def start(self) -> None:
        """Listen, and start what the deployed apps keep running."""
        await self.blobs.start()
        self.url = await self._server.listen()
        self._clocks.append(self.tasks.start(self.schedules.run(), "schedules"))
        self._clocks.append(self.tasks.start(self.background.run(), "background commits"))
        for app in self.apps.all_deployed():
            await self._keep_up(app)

    async def stop(self) -> None:
        """Kill every container and close all ports."""
        self.scheduler.is_stopping = True
        await self.tasks.cancel(*self._clocks)
        await self.servers.stop()
        living = self.scheduler.living_all()
        for container in living:
            container.kill()
            if container.process is None and container.task is not None:
                container.task.cancel()
        tasks = [container.task for container in living if container.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        await self._server.stop()
        await self.blobs.stop()
        self.state.close()
        trees.remove(self._short)

    def _make_short(self) -> Path:
        """Make a folder of a short path; remove the one of a control plane that was killed."""
        note = self.state.root / "short-folder"
        if note.exists():
            trees.remove(Path(note.read_text("utf-8")))
        folder = Path(tempfile.mkdtemp(prefix="loopback-"))
        note.write_text(str(folder), "utf-8")
        return folder

    def _provision(self) -> Provision:
        return Provision(
            settings=self.settings,
            apps=self.apps,
            layouts=self.layouts,
            images=self.images,
            secrets=self.secrets,
            mounts=self.mounts,
            blobs=self.blobs,
            volumes=self.volumes,
            starter=starter(),
            gpus=self.gpus,
        )

    def _parts(self) -> list[object]:
        containers = Containers(self.scheduler, self.changes)
        return [
            *(Workspace(), self.apps, self.functions, self.layouts, self.blobs),
            *(self.images, self.secrets, self.mounts, self.dicts, self.volumes),
            *(self.calls, self.servers, containers, self.logs, self.queues, self.listings),
        ]

    def _connect(self) -> None:
        self.launcher.router = self.router
        self.scheduler.launch = self.launcher.start
        self.volumes.view_of = self.launcher.view
        self.functions.url_of = self.servers.url_of
        self.servers.launch = self.launcher.start
        self.apps.published = self._published
        self.apps.stopped = self._stopped

    async def _published(self, app: App, gone: set[str], definitions: dict[str, str]) -> None:
        for function_id in gone:
            await self._remove(self.functions.get(function_id))
        for record in self.functions.publish(app, definitions):
            if record.active is not None and record.active.data.is_server:
                continue  # its keeper rolls over to the new version
            for variant in self.functions.variants(record.id):
                for container in self.scheduler.living(variant.id):
                    self.scheduler.drain(container)
        await self._keep_up(app)

    async def _keep_up(self, app: App) -> None:
        for record in self.functions.of(app):
            self.scheduler.scale(record)
            await self.servers.keep(record)

    async def _remove(self, record: FunctionRecord) -> None:
        """Remove a function that the newest version of its app no longer has."""
        await self.servers.forget(record)
        for variant in self.functions.variants(record.id):
            for container in self.scheduler.living(variant.id):
                self.scheduler.drain(container)

    async def _stopped(self, app: App) -> None:
        for record in self.functions.of(app):
            await self.servers.forget(record)
            for variant in self.functions.variants(record.id):
                self.scheduler.close(variant)
            record.active = None
