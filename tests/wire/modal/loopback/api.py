"""The loopback as tests and the demo use it: a control plane in its own thread."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tests.wire.modal.loopback.assets import Layer
from tests.wire.modal.loopback.client_env import client_env, process_env
from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.control_plane import ControlPlane
from tests.wire.modal.loopback.definitions import FunctionRecord
from tests.wire.modal.loopback.gpus import Hold
from tests.wire.modal.loopback.settings import Settings
from tests.wire.modal.loopback.volumes import Volume
from tests.wire.modal.loopback.work import Attempt

Result = TypeVar("Result")
# Only what hangs takes so long, on however busy a machine.
PATIENCE_SECONDS = 240.0
COMMAND_SECONDS = 240


class CommandError(Exception):
    """The `modal` command failed; the text is what it printed."""


class Loopback:
    """A running control plane. Every method may be called from any thread and blocks.

    The containers share the host. What runs in them finds by variables what a container has for
    itself on Modal: `LORABOT_MOUNT_ROOT`, below which the mount paths of its volumes lie, and
    `LORABOT_SERVER_PORT`, on which a server class listens instead of the port that it names.

    Attributes:
        url: What `MODAL_SERVER_URL` must be.
        settings: How it behaves; may be changed while it runs.
    """

    def __init__(self, state: Path, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loopback")
        self._thread.start()
        self.plane = self._wait(self._start(state))
        notify = self.plane.changes.notify
        self.settings.changed = lambda: self._loop.call_soon_threadsafe(notify)
        self.url = self.plane.url

    def __enter__(self) -> "Loopback":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill every container and end; the state stays."""
        self.settings.changed = None
        self._wait(self.plane.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def client_env(self) -> dict[str, str]:
        """Return the variables that lead the client in this process to the loopback."""
        return client_env(self.url)

    def process_env(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the whole environment for a child process that speaks to the loopback."""
        return process_env(self.url) | dict(env or {})

    def deploy(
        self,
        target: str | Path,
        env: Mapping[str, str] | None = None,
        *,
        cwd: Path | None = None,
        strategy: str = "rolling",
    ) -> str:
        """Run `modal deploy` and return what it printed.

        Args:
            target: A file, or with `module:` before it what `modal deploy -m` takes.
            env: Variables of the command, next to those of `process_env`.
            cwd: Where it runs, by default here.
            strategy: "rolling" or "recreate".

        Raises:
            CommandError: It failed.
        """
        name = str(target)
        what = ["-m", name.removeprefix("module:")] if name.startswith("module:") else [name]
        return self.run("deploy", "--strategy", strategy, *what, env=env, cwd=cwd)

    def run(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> str:
        """Run the `modal` command and return what it printed.

        Raises:
            CommandError: It failed.
        """
        done = subprocess.run(
            [sys.executable, "-m", "modal", *map(str, arguments)],
            env=self.process_env(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise CommandError(done.stdout)
        return done.stdout

    def forget_images(self) -> None:
        """Let the next container of each image pull it again."""
        self.call(self.plane.launcher.pulled.clear)

    def pulled(self) -> list[float]:
        """Return the seconds that the first container of each image took to start."""
        return self.call(lambda: list(self.plane.launcher.pulled.values()))

    def create_secret(self, name: str, variables: Mapping[str, str]) -> None:
        """Create or replace a secret, as a person does in the dashboard."""
        self.call(lambda: self.plane.secrets.create(name, dict(variables)))

    def containers(self, function: str | None = None, *, ended: bool = False) -> list[Container]:
        """Return the containers, of one function if named by its tag, in their order of start.

        Args:
            function: Tag in the app, as "train" or "Bot".
            ended: Whether those that ended are among them.
        """
        return self.call(
            lambda: [
                its
                for its in self.plane.scheduler.containers.values()
                if function in (None, its.name) and (ended or its.state != "ended")
            ]
        )

    def preempt(self, container: Container) -> None:
        """Take a container's machine away: SIGINT, the grace period, then SIGKILL."""
        self.call(lambda: self.plane.scheduler.preempt(container))

    def kill(self, container: Container) -> None:
        """Kill every process of a container at once."""
        self.call(container.kill)

    def wait_for(self, is_true: Callable[[], object], timeout: float = PATIENCE_SECONDS) -> None:
        """Wait until `is_true()`, which is asked in the loopback's thread after each change.

        Raises:
            TimeoutError: It did not come true; the text holds what the containers printed.
        """
        if not self._wait(self.plane.changes.wait_for(is_true, timeout)):
            raise TimeoutError(f"Waited {timeout} s in vain.\n{self.logs()}")

    def logs(self, function: str | None = None) -> str:
        """Return all that the containers printed."""
        return "\n".join(
            f"[{its.name} {its.id} {its.state} {its.exit_code}]\n{its.text}"
            for its in self.containers(function, ended=True)
        )

    def fire_cron(self, function: str) -> str:
        """Run a deployed function now as its schedule does; return the id of the call."""
        return self.call(lambda: self.plane.schedules.fire(self._record(function)).id)

    def expire_results(self) -> None:
        """Drop the results of every finished call."""
        self.call(self.plane.calls.expire)

    def advance(self, seconds: float) -> None:
        """Let time pass for results and for entries of dicts."""
        self.call(lambda: self.plane.clock.advance(seconds))

    def committed(self, volume: str) -> Path:
        """Return the folder with the committed files of a volume; read it only."""
        return self.call(lambda: self._volume(volume).files)

    def set_volume_limit(self, name: str, size_bytes: int | None) -> None:
        """Make a volume full from a size on."""

        def set_limit() -> None:
            self._volume(name).limit_bytes = size_bytes

        self.call(set_limit)

    def set_volume_layers(self, name: str, limit: int | None, seconds: float = 60.0) -> None:
        """Make a volume refuse writes for this many seconds after each `limit` that it took."""

        def set_layers() -> None:
            volume = self._volume(name)
            volume.layer_limit, volume.layer_seconds = limit, seconds

        self.call(set_layers)

    def refused_writes(self, name: str) -> int:
        """Return how many writes a volume has refused for a while."""
        return self.call(lambda: self._volume(name).refused)

    def public_url(self, server: str) -> str:
        """Return the public URL of a deployed server class, by its tag."""
        return self.call(lambda: self.plane.servers.url_of(self._record(server)))

    def image_steps(self, function: str) -> list[Layer]:
        """Return the build of the image of a deployed function, by its tag."""

        def steps() -> list[Layer]:
            definition = self._record(function).definition
            assert definition is not None  # it is deployed
            return self.plane.images.steps(definition.function.image_id)

        return self.call(steps)

    @property
    def journal(self) -> list[Attempt]:
        """What ran, in the order in which it started."""
        return self.call(lambda: list(self.plane.scheduler.journal.attempts))

    @property
    def gpu_log(self) -> list[Hold]:
        """Who held which GPU."""
        return self.call(lambda: list(self.plane.gpus.log))

    @property
    def unimplemented(self) -> list[str]:
        """RPCs that were asked for and that the loopback does not serve."""
        return self.call(lambda: list(self.plane.router.unimplemented))

    def check(self) -> None:
        """Fail if the loopback saw something that Modal would refuse, or has a bug.

        Raises:
            AssertionError: Naming RPCs that are not served, or writes to volumes that are lost.
        """
        broken = [f"{its.rpc}: {its.traceback}" for its in self.plane.router.broken]
        broken += self.plane.tasks.errors
        assert not broken, "\n".join(broken)
        assert not self.plane.volumes.violations, "\n".join(self.plane.volumes.violations)
        assert not self.unimplemented, f"not served: {', '.join(self.unimplemented)}"

    def variables(self, tag: str) -> dict[str, str]:
        """Return what the containers of a Function or server find in their environment."""
        active = self._record(tag).active
        assert active is not None  # it is deployed
        secrets = self.plane.secrets
        ids = active.data.ranked_functions[0].function.secret_ids
        found = self.call(lambda: [secrets.variables(secret) for secret in ids])
        return {name: value for each in found for name, value in each.items()}

    def _volume(self, name: str) -> Volume:
        return self.plane.volumes.get(self.plane.names.get("Volume", name) or name)

    def _record(self, tag: str) -> FunctionRecord:
        for app in self.plane.apps.all_deployed():
            if tag in app.tags:
                return self.plane.functions.get(app.tags[tag])
        raise KeyError(tag)

    async def _start(self, state: Path) -> ControlPlane:
        plane = ControlPlane(state, self.settings)
        await plane.start()
        return plane

    def _wait(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def call(self, function: Callable[[], Result]) -> Result:
        """Call a function in the loopback's thread, the only one that may use its state."""

        async def call() -> Result:
            result = function()
            self.plane.changes.notify()
            return result

        return self._wait(call())
