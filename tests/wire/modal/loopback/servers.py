"""Server classes: keeps containers running, replaces dead ones, rolls over to new versions."""

import asyncio
import contextlib
import signal
from collections.abc import Callable

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from tests.wire.modal.loopback.changes import Changes
from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.definitions import FunctionRecord
from tests.wire.modal.loopback.ports import listens
from tests.wire.modal.loopback.proxy import Proxy
from tests.wire.modal.loopback.rpc import Caller, rpc
from tests.wire.modal.loopback.scheduler import Scheduler
from tests.wire.modal.loopback.settings import Settings
from tests.wire.modal.loopback.state import State
from tests.wire.modal.loopback.tasks import Tasks

UNHEALTHY_AFTER = 3  # failed looks at the port
MAX_BACKOFF_SECONDS = 5.0


class Servers:
    """The servers of all apps, each with its public URL.

    Attributes:
        launch: Starts a container that listens on a port of its own.
    """

    def __init__(
        self,
        state: State,
        settings: Settings,
        scheduler: Scheduler,
        changes: Changes,
        tasks: Tasks,
    ) -> None:
        self._state, self._settings = state, settings
        self._scheduler, self._changes, self._tasks = scheduler, changes, tasks
        self._ports = {key.decode(): int(value) for key, value in state.items("port").items()}
        self._proxies: dict[str, Proxy] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self.launch: Callable[[FunctionRecord], Container | None] = lambda _record: None

    def url_of(self, record: FunctionRecord) -> str:
        """Return the public URL of a server, empty for other functions."""
        definition = record.newest
        if definition is None or not definition.data.is_server:
            return ""
        if record.id not in self._proxies:
            port = self._ports.get(record.id, 0)
            proxy = Proxy(lambda: self._serving(record), self._changes.notify, port)
            self._proxies[record.id] = proxy
            self._state.put("port", record.id, str(proxy.port).encode())
        return self._proxies[record.id].url

    async def keep(self, record: FunctionRecord) -> None:
        """Keep a published server up from now on; a newer version takes over by itself."""
        if self.url_of(record) and record.id not in self._keepers:
            await self._proxies[record.id].start()
            keeper = self._tasks.start(self._keep(record), f"keep {record.name}")
            self._keepers[record.id] = keeper

    async def forget(self, record: FunctionRecord) -> None:
        """Stop a server that is no longer deployed."""
        keeper = self._keepers.pop(record.id, None)
        if keeper is not None:
            await self._tasks.cancel(keeper)
            await self._proxies.pop(record.id).stop()
        for container in self._scheduler.living(record.id):
            self._retire(container)

    async def stop(self) -> None:
        """Stop keeping anything up and close the public ports."""
        await self._tasks.cancel(*self._keepers.values(), *self._retiring)
        for proxy in self._proxies.values():
            await proxy.stop()

    @rpc
    async def container_server_lifecycle_ready(
        self, request: api_pb2.ContainerServerLifecycleReadyRequest, caller: Caller
    ) -> Empty:
        self._scheduler.containers[caller.container_id or ""].has_entered = True
        self._changes.notify()
        return Empty()

    def _serving(self, record: FunctionRecord) -> Container | None:
        ready = [its for its in self._scheduler.living(record.id) if its.is_serving]
        return ready[-1] if ready else None

    async def _keep(self, record: FunctionRecord) -> None:
        failures = 0
        while True:
            if self._is_missing_one(record):
                await asyncio.sleep(min(0.1 * failures**2, MAX_BACKOFF_SECONDS))
                started = self.launch(record)
                assert started is not None  # it is published
                failures = 0 if await self._come_up(started) else failures + 1
                continue
            for container in self._outdated(record):
                self._retire(container)
            await self._changes.wait_for(
                lambda: self._is_missing_one(record) or self._outdated(record),
                self._settings.health_seconds,
            )
            await self._check_health(record)

    def _is_missing_one(self, record: FunctionRecord) -> bool:
        """Return whether fewer containers of the newest version run than shall.

        A preempted one counts until it is gone: its replacement comes after the grace period.
        """
        assert record.active is not None  # it is published
        scaling = record.active.function.autoscaler_settings
        wanted = max(scaling.min_containers, int(self._proxies[record.id].is_wanted))
        running = [
            its
            for its in self._scheduler.living(record.id)
            if its.definition_id == record.active.id
            and (its.state != "draining" or its.is_preempted)
        ]
        return len(running) < wanted

    def _outdated(self, record: FunctionRecord) -> list[Container]:
        """Return the containers of older versions, once one of the newest serves."""
        assert record.active is not None  # it is published
        living = self._scheduler.living(record.id)
        if not any(its.definition_id == record.active.id and its.is_serving for its in living):
            return []
        return [
            its
            for its in living
            if its.definition_id != record.active.id and its.state in ("starting", "running")
        ]

    async def _come_up(self, container: Container) -> bool:
        """Wait until a container serves its port; kill it when its start takes too long."""
        limit = container.definition.http_config.startup_timeout
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._changes.wait_for(
                    lambda: container.has_entered or container.state == "ended", limit
                )
                # Nothing tells when a foreign process begins to listen.
                while container.state != "ended" and not await listens(container.port):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                container.is_ready = container.state == "starting"
        if container.state == "ended":
            return False
        if not container.is_ready:
            text = f"The server does not listen on 0.0.0.0:{container.port} after {limit} s.\n"
            container.printed.append(text)
            container.kill()
            return False
        container.state = "running"
        self._changes.notify()
        return True

    async def _check_health(self, record: FunctionRecord) -> None:
        for container in self._scheduler.living(record.id):
            if not container.is_serving:
                continue
            is_well = await listens(container.port)
            container.failed_checks = 0 if is_well else container.failed_checks + 1
            if container.failed_checks >= UNHEALTHY_AFTER:
                self._retire(container)

    def _retire(self, container: Container) -> None:
        if container.state == "ended" or container.is_retiring:
            return
        container.is_retiring = True
        self._scheduler.drain(container)
        task = self._tasks.start(self._shut_down(container), f"retire {container.id}")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _shut_down(self, container: Container) -> None:
        """End as Modal does: no new requests, time for the open ones, SIGTERM, SIGKILL."""
        grace = container.definition.http_config.exit_grace_period
        await self._changes.wait_for(
            lambda: not container.requests or container.state == "ended", grace
        )
        container.signal(signal.SIGTERM)
        grace = self._settings.server_grace_seconds
        if not await self._changes.wait_for(lambda: container.state == "ended", grace):
            container.kill()
