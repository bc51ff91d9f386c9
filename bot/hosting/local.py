"""The composition root of one machine."""

import fcntl
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from bot.installation import Installation
from bot.settings import Settings
from storage.local.board import StoreBoard
from storage.local.claims import FileClaims
from storage.local.leases import FileLeases
from storage.local.run_index import SqliteRunIndex
from storage.local.store import FolderStore
from training.backends.local.queue import LocalBackend
from training.catalogue.models import Model
from training.errors import RequestError
from training.files.code_path import python_path
from training.musubi.checkout import commit_of
from training.musubi.launcher.hooks import MUSUBI_COMMIT
from training.pipeline.runtime import Runtime
from training.ports import Engine
from training.vocabulary import EngineName


class LocalInstallation(Installation):
    """A home folder on this machine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home_folder
        self._worker: int | None = None
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(
                f"Cannot use the home folder {self.home}: {error.strerror}.",
                "Choose another one with --home or LORABOT_HOME.",
            ) from error
        self.backend = LocalBackend(self.home / "local", self.ensure_worker)
        store = FolderStore(self.home)
        runtime = Runtime(
            store=store,
            leases=FileLeases(self.home / "leases"),
            backend=self.backend,
            board=StoreBoard(store),
            engine=self.engine,
            gpu=self.gpu,
            only_gpu=settings.gpu,
            limits=settings.limits,
        )
        index = SqliteRunIndex(self.home / "index.sqlite")
        super().__init__(settings, runtime, FileClaims(self.home / "claims"), index)

    def with_team_role(self, role: str) -> "LocalInstallation":
        """Return the same installation with a role to ping, unless one is set."""
        if self.settings.team_role is not None:
            return self
        return LocalInstallation(self.settings.model_copy(update={"team_role": role}))

    def engine(self, name: EngineName) -> Engine:
        """Return the engine called `name`.

        Raises:
            RequestError: musubi-tuner is not set up.
        """
        if name == "rehearsal":
            from training.rehearsal.engine import RehearsalEngine

            return RehearsalEngine()
        from training.musubi.engine import MusubiEngine

        checkout, python = musubi_checkout(self.settings)
        return MusubiEngine(checkout, python, self.settings.state_seconds)

    def load(self) -> None:
        """Import what commands use, the engines among it."""
        super().load()
        self.engine("rehearsal")
        with suppress(RequestError):
            self.engine("musubi")

    def gpu(self, _model: Model, engine: EngineName) -> str | None:
        """Return the card that an engine trains on; a rehearsal runs on the CPU."""
        return self.settings.gpu if engine == "musubi" else None

    @property
    def worker_lock(self) -> Path:
        """The file that the running worker service keeps locked."""
        return self.home / "local" / "worker.lock"

    def ensure_worker(self) -> None:
        """Start the worker service unless one is running; it exits when idle."""
        self._reap_worker()
        with self.worker_lock.open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self._worker = self._start_worker(lock.fileno())

    def stop_worker(self) -> None:
        """Stop the worker service that this object started, and wait for it."""
        if self._worker is not None:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._worker, signal.SIGTERM)
                os.waitpid(self._worker, 0)
            self._worker = None

    def _start_worker(self, lock: int) -> int:
        """Start the service; it inherits the lock and holds it until it exits."""
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
                # Its own session: it must outlive the bot.
                setsid=True,
            )

    def _reap_worker(self) -> None:
        if self._worker is not None:
            with suppress(ChildProcessError):
                ended, _status = os.waitpid(self._worker, os.WNOHANG)
                self._worker = None if ended else self._worker


def musubi_checkout(settings: Settings) -> tuple[Path, Path]:
    """Return the musubi-tuner checkout on this machine and its interpreter.

    Raises:
        RequestError: It is not set, missing, or at another commit.
    """
    if settings.musubi_dir is None:
        raise RequestError(
            "The musubi engine needs a musubi-tuner checkout and a GPU.",
            "Set LORABOT_MUSUBI_DIR to its folder, or use --engine rehearsal.",
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
    # Not resolved: a virtual environment is recognized by this link.
    python = settings.musubi_python or checkout / ".venv/bin/python"
    if not python.is_file():
        raise RequestError(
            f"musubi-tuner's interpreter {python} does not exist.",
            "Create the checkout's .venv as README.md says, or set LORABOT_MUSUBI_PYTHON.",
        )
    return checkout, python.absolute()


def worker_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the worker service."""
    environment = {
        **os.environ,
        "PYTHONPATH": python_path(),
        "LORABOT_GPU_SLOTS": str(settings.gpu_slots),
        "LORABOT_CPU_SLOTS": str(settings.cpu_slots),
    }
    # Stages must not have the chat token.
    environment.pop("LORABOT_DISCORD_TOKEN", None)
    return environment
