"""The process from which all containers of this process are forked."""

import atexit
import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.wire.modal.loopback import container_init
from tests.wire.modal.loopback.client_env import HOST_VARIABLES, PYTHON_WARNINGS

# What holds for every container and is read when Python starts or the client is imported.
CONTAINER_ENV = {
    "MODAL_IS_REMOTE": "1",
    "MODAL_CONFIG_PATH": "/nonexistent",
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": PYTHON_WARNINGS,
}


@dataclass
class Streams:
    """A container that starts: reports its process id and its exit status, each in a line.

    Attributes:
        out: Read end of its standard output.
        err: Read end of its standard error.
    """

    status: int
    out: int
    err: int


class Process:
    """The first process of a container."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._file = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended
            self._file = -1

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self._file >= 0:
            try:
                signal.pidfd_send_signal(self._file, signal.Signals(number))
            except ProcessLookupError:
                return

    def close(self) -> None:
        """Note that it has ended."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


class Starter:
    """Starts containers.

    Attributes:
        python: The interpreter that they run on.
    """

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="loopback-python-"))
        self.python = make_python(folder)
        self._code = folder / "code"
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [self.python, container_init.__file__, folder],
                stdin=theirs.fileno(),
                env=host_env() | CONTAINER_ENV | {"OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )

    def code(self, files: Mapping[str, Path]) -> Path:
        """Return a folder with these files, given by their path in it and named by their hash.

        Containers with the same files share it: what one of them compiles, none compiles again.
        """
        names = {name: path.name for name, path in files.items()}
        digest = hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()
        folder = self._code / digest[:16]
        with _lock:
            if not folder.exists():
                fresh = folder.with_suffix(".new")
                for name, path in files.items():
                    target = fresh / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)
                fresh.rename(folder)
        return folder

    def start(self, folder: Path, env: Mapping[str, str], code: Path | None) -> Streams:
        """Start a container's program in a folder; `env` is its whole environment.

        The container is forked from a process that has imported the product from `code`.
        """
        pairs = [os.pipe() for _ in range(3)]
        its = {"folder": str(folder), "env": dict(env), "code": str(code or "")}
        request = json.dumps(its).encode()
        try:
            socket.send_fds(self._control, [request], [write for _, write in pairs])
        finally:
            for _, write in pairs:
                os.close(write)
        return Streams(*(read for read, _ in pairs))

    def stop(self) -> None:
        """End, and every container with it."""
        self._control.close()
        self._process.wait()


def host_env() -> dict[str, str]:
    """Return what a container gets of the host's environment."""
    return {name: os.environ[name] for name in HOST_VARIABLES if name in os.environ}


def make_python(folder: Path) -> Path:
    """Make an interpreter with the host's packages but none of its editable installs.

    The line of a `.pth` file adds a folder without reading the `.pth` files in it: a container
    finds the sources that were mounted, never those of the checkout.
    """
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    base = Path(sys.executable).resolve()
    python.symlink_to(base)
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    packages = Path(sysconfig.get_path("purelib"))
    own = folder / packages.relative_to(sys.prefix)
    own.mkdir(parents=True)
    hosts = [path for path in sys.path if Path(path).name == packages.name]
    (own / "host.pth").write_text("".join(f"{path}\n" for path in hosts))
    return python


_lock = threading.Lock()


def starter() -> Starter:
    """Return the starter of this process; it ends with it."""
    with _lock:
        return _starter()


@functools.cache
def _starter() -> Starter:
    found = Starter()
    atexit.register(found.stop)
    return found
