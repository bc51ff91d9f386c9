"""Assembles an installation on one machine from its adapters."""

import os
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from bot.hosting.linux import require_linux
from bot.installation import Installation
from bot.settings import Settings
from storage.local.claims import FileClaims
from storage.local.leases import FileLeases
from storage.local.leftovers import Leftovers
from storage.local.live_values import StoreLiveValues
from storage.local.run_index import SqliteRunIndex
from storage.local.store import FolderStore
from training.backends.local.queue import LocalBackend
from training.catalogue.models import Model
from training.errors import RequestError
from training.files.code_path import python_path
from training.files.disk_space import shortage
from training.files.locks import hold
from training.musubi.checkout import commit_of
from training.musubi.launcher.hooks import MUSUBI_COMMIT
from training.pipeline.found_gpu import found_gpu
from training.pipeline.runtime import Runtime
from training.ports import Engine
from training.vocabulary import EngineName

# How long to wait for space on a full disk, which usually has room again within minutes. Meanwhile
# training continues; only its records wait.
_ROOM_SECONDS = 600.0


class LocalInstallation(Installation):
    """An installation in a home folder on this machine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home_folder
        self._worker: int | None = None
        _require_usable(self.home)
        self.backend = LocalBackend(
            self.home / "local", self.ensure_worker, gpu_slots=settings.gpu_slots
        )
        store, leases = FolderStore(self.home), FileLeases(self.home / "leases")
        self.leftovers, self._leases = Leftovers(self.home), leases
        runtime = Runtime(
            store=store,
            leases=leases,
            backend=self.backend,
            live=StoreLiveValues(store),
            engine=self.engine,
            gpu=self.gpu,
            only_gpu=settings.gpu,
            found_gpu=lambda engine: found_gpu() if engine == "musubi" else None,
            # Without musubi-tuner, estimates are for Modal, where a run may get a different GPU.
            falls_back=settings.musubi_dir is None,
            limits=settings.limits,
            cache_seconds=settings.cache_seconds,
            shortage=lambda: shortage(self.home),
            room_seconds=_ROOM_SECONDS,
        )
        index = SqliteRunIndex(self.home / "index.sqlite")
        super().__init__(settings, runtime, lambda: FileClaims(self.home / "claims"), index)

    def with_team_role(self, role: str) -> "LocalInstallation":
        """Return the installation with `role` as its team role, unless its settings name one."""
        if self.settings.team_role is not None:
            return self
        return LocalInstallation(self.settings.model_copy(update={"team_role": role}))

    def engine(self, name: EngineName) -> Engine:
        """Return the engine called `name`.

        Raises:
            RequestError: musubi-tuner is not available on this machine.
        """
        if name == "rehearsal":
            from training.rehearsal.engine import RehearsalEngine

            return RehearsalEngine()
        from training.musubi.engine import MusubiEngine

        checkout, python = musubi_checkout(self.settings)
        return MusubiEngine(checkout, python, self.settings.state_seconds)

    def load(self) -> None:
        """Import the modules that commands use, including the engines."""
        super().load()
        self.engine("rehearsal")
        with suppress(RequestError):
            self.engine("musubi")

    def gpu(self, _model: Model, engine: EngineName) -> str | None:
        """Return the GPU named in the settings; None for a rehearsal, which uses the CPU."""
        return self.settings.gpu if engine == "musubi" else None

    def require_training(self) -> None:
        require_linux("Training on this machine")

    def rebuild(self) -> None:
        """Rebuild the index, and the queue if it is damaged."""
        super().rebuild()
        self.backend.check()

    @property
    def worker_lock(self) -> Path:
        """The file that the running worker service keeps locked."""
        return self.home / "local" / "worker.lock"

    def ensure_worker(self) -> None:
        """Start the worker service unless it is running. The service exits when it has no work."""
        self.require_training()
        self._reap_worker()
        self.worker_lock.parent.mkdir(parents=True, exist_ok=True)
        with self.worker_lock.open("ab") as lock:
            if hold(lock):
                self._worker = self._start_worker(lock.fileno())

    def sweep(self) -> None:
        """Delete files left by killed processes, in the places that are cheap to search."""
        self.leftovers.sweep_often()
        self._leases.remove_old()

    def clean_up_daily(self) -> None:
        from training.operations.clean_up import clean_up_daily

        clean_up_daily(self.runtime, self.claims)

    def stop_worker(self) -> None:
        """Stop the worker service that this object started, and wait for it."""
        if self._worker is not None:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._worker, signal.SIGTERM)
                os.waitpid(self._worker, 0)
            self._worker = None

    def _start_worker(self, lock: int) -> int:
        """Start the service, which holds the lock until it exits; return its process id.

        Args:
            lock: Descriptor of the locked file, which the service inherits.
        """
        command = [sys.executable, "-m", "bot.hosting.worker", "serve", "--home", str(self.home)]
        with (self.home / "local" / "worker.log").open("ab") as log:
            return os.posix_spawn(
                sys.executable,
                command,
                worker_environment(self.settings),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                    (os.POSIX_SPAWN_DUP2, lock, 3),
                ],
                # In its own session, the service keeps running when the bot ends.
                setsid=True,
            )

    def _reap_worker(self) -> None:
        if self._worker is not None:
            with suppress(ChildProcessError):
                ended, _status = os.waitpid(self._worker, os.WNOHANG)
                self._worker = None if ended else self._worker


def _require_usable(home: Path) -> None:
    """Raise `RequestError` unless `home` is a folder or can be created; create nothing."""
    there = next(path for path in (home, *home.absolute().parents) if path.exists())
    try:
        if there == home:
            os.scandir(home).close()
        else:
            # Try to write: on some file systems, permissions do not tell whether writing works.
            Path(tempfile.mkdtemp(dir=there)).rmdir()
    except NotADirectoryError as error:
        raise _unusable(home, f"{there} is not a folder") from error
    except OSError as error:
        does = "read" if there == home else "written"
        raise _unusable(home, f"{there} cannot be {does} ({error.strerror})") from error


def _unusable(home: Path, reason: str) -> RequestError:
    return RequestError(
        f"Cannot use the home folder {home}: {reason}.",
        "Choose another folder with --home or LORABOT_HOME.",
    )


def musubi_checkout(settings: Settings) -> tuple[Path, Path]:
    """Return the paths of this machine's musubi-tuner checkout and of its Python interpreter.

    Raises:
        RequestError: The checkout is not configured, is missing or is at another commit, or this
            machine does not run Linux.
    """
    require_linux("musubi-tuner on this machine")
    if settings.musubi_dir is None:
        raise RequestError(
            "The musubi engine needs a musubi-tuner checkout and a GPU.",
            "Set LORABOT_MUSUBI_DIR to the checkout's folder, or use --engine rehearsal.",
        )
    checkout = settings.musubi_dir.resolve()
    if not (checkout / "src/musubi_tuner/wan_train_network.py").is_file():
        raise RequestError(
            f"LORABOT_MUSUBI_DIR names {checkout}, which is not a musubi-tuner checkout.",
            "Set it to the folder that contains src/musubi_tuner.",
        )
    found = commit_of(checkout)
    if found not in (None, MUSUBI_COMMIT):
        raise RequestError(
            f"The musubi-tuner in {checkout} is at commit {found}, which is not supported.",
            f"Check out the supported commit: git -C {checkout} checkout {MUSUBI_COMMIT}",
        )
    # Do not resolve the symbolic link, because Python finds its virtual environment by this path.
    python = settings.musubi_python or checkout / ".venv/bin/python"
    if not python.is_file():
        raise RequestError(
            f"musubi-tuner's interpreter {python} does not exist.",
            "Create it as described in training/musubi/README.md, or set LORABOT_MUSUBI_PYTHON.",
        )
    return checkout, python.absolute()


def worker_environment(settings: Settings) -> dict[str, str]:
    environment = {
        **os.environ,
        "PYTHONPATH": python_path(),
        "LORABOT_GPU_SLOTS": str(settings.gpu_slots),
        "LORABOT_CPU_SLOTS": str(settings.cpu_slots),
    }
    # Stages must not see the bot's Discord token.
    environment.pop("LORABOT_DISCORD_TOKEN", None)
    return environment
