"""Runs commands of `lorabot` on Linux as Windows would.

What only POSIX has is missing: modules, functions, signals. Each breach of the rules of Windows for
files is noted: names, open files that are replaced or removed, syncs of files that are open to
read. Processes that a command starts run by the same rules.
"""

import fcntl
import importlib
import io
import json
import os
import runpy
import shlex
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

from training.files.windows_names import portable

OURS = ("bot", "training", "storage")
# These import every package that ours ever need; the others only Windows and macOS need.
ALL_OF_OURS = (
    "bot.modal_app",
    "training.modal_app",
    "bot.cli.hosting.serve",
    "bot.cli.hosting.demo",
)
ALWAYS = ("psutil", "filelock")
NO_MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "crypt")
NO_FUNCTIONS = {
    "os": (
        *(
            "fork",
            "forkpty",
            "setsid",
            "killpg",
            "getuid",
            "geteuid",
            "getgid",
            "getegid",
            "getpgid",
        ),
        *("setpgid", "posix_spawn", "posix_fallocate", "pread", "pwrite", "preadv", "pwritev"),
        *("sched_getaffinity", "mkfifo", "fchmod", "chown", "nice", "WNOHANG", "O_DIRECT"),
        *("O_DIRECTORY", "O_CLOEXEC", "O_SYNC"),
    ),
    "signal": (
        *("SIGKILL", "SIGCHLD", "SIGHUP", "SIGUSR1", "pthread_sigmask", "sigwait", "setitimer"),
        "alarm",
    ),
}
# Where the operator's files lie on Windows: the longest part of a path that is not ours.
HOME_CHARACTERS = len(r"C:\Users\annika.schmidt-meier\AppData\Local\Temp")
MAX_PATH = 260


@dataclass(frozen=True)
class Ended:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return the document that was printed."""
        return json.loads(self.out)


def as_windows(
    root: Path, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str] = os.environ
) -> tuple[dict[str, Ended], list[str]]:
    """Run commands one after the other in one process; return how each ended, and the breaches.

    Args:
        root: The operator's home, in which temporary files lie, too.
        commands: The arguments of `lorabot`, by a name.
        environment: The environment of the process.
    """
    report = root.with_name(f"{root.name}-report.json")
    folders = {"HOME": str(root), "TMPDIR": str(root), "LORABOT_HOME": str(root / ".lorabot")}
    subprocess.run(
        [sys.executable, "-m", "tests.as_windows", str(report)],
        input=json.dumps(list(commands.values())),
        env={**environment, **folders, "USERNAME": "annika", "PYTHONWARNDEFAULTENCODING": "1"},
        cwd=Path(__file__).parents[1],
        text=True,
        encoding="utf-8",
        check=True,
    )
    ended = [Ended(**one) for one in json.loads(report.read_text("utf-8"))]
    faults = report.with_suffix(".faults").read_text("utf-8").splitlines()
    return dict(zip(commands, ended, strict=True)), faults


class Rules:
    """Notes each breach of the rules of Windows in a file, which processes share."""

    def __init__(self, faults: Path, root: Path) -> None:
        self._faults = os.open(faults, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._root = root

    def note(self, fault: str) -> None:
        os.write(self._faults, f"{fault}\n".encode())

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Judge what the interpreter is about to do; it calls this before each such event."""
        paths: list[Any] = [str(one) if isinstance(one, Path) else one for one in arguments]
        match event, paths:
            case "open", (str(path), _, int(flags)) if flags & os.O_CREAT:
                self._judge_name(path)
            case "os.mkdir", (str(path), _, -1):
                self._judge_name(path)
            case "os.rename", (str(source), str(target), -1, -1):
                self._judge_name(target)
                self._judge_open("moved", source)
                self._judge_open("replaced", target)
            case "os.link", (_, str(target), -1, -1):
                self._judge_name(target)
            case "os.symlink", (_, str(target), -1):
                self.note(f"a symbolic link: {target}")
            case "os.remove", (str(path), -1):
                self._judge_open("removed", path)
            case _:
                pass

    def _judge_name(self, path: str) -> None:
        full = PurePosixPath(os.path.abspath(path))  # noqa: PTH100  # must not touch the disk
        if not full.is_relative_to(self._root):
            return
        inside = full.relative_to(self._root)
        for part in inside.parts:
            if portable(part) != part:
                self.note(f"a name that Windows refuses: {inside}")
        if HOME_CHARACTERS + 1 + len(str(inside)) >= MAX_PATH:
            self.note(f"a path that is too long: {inside}")
        with suppress(OSError):
            names = {one.name for one in Path(full.parent).iterdir()} - {full.name}
            if full.name.lower() in map(str.lower, names):
                self.note(f"a name like that of another file: {inside}")

    def _judge_open(self, what: str, path: str) -> None:
        full = os.path.abspath(path)  # noqa: PTH100
        if any(held == full or held.startswith(f"{full}/") for held in _open_files()):
            self.note(f"an open file that is {what}: {full}")


def _open_files() -> Iterator[str]:
    """Yield the paths that this process and its children have open."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split()
    for process in ("self", *children):
        with suppress(OSError):
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                with suppress(OSError):
                    yield str(descriptor.readlink())


def become_windows(rules: Rules) -> None:
    """Take from this process what Windows does not have; what is imported keeps what it knows."""
    flags_of, fsync, utime = fcntl.fcntl, os.fsync, os.utime
    get_flags = fcntl.F_GETFL

    def strict_fsync(file: Any) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        if flags_of(descriptor, get_flags) & os.O_ACCMODE == os.O_RDONLY:
            rules.note("a sync of a file that is open to read")
        fsync(file)

    def strict_utime(path: Any, *arguments: Any, **options: Any) -> None:
        if isinstance(path, int):
            rules.note("a time set through a descriptor")
        utime(path, *arguments, **options)

    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    sys.modules.update(dict.fromkeys(NO_MODULES))  # pyright: ignore  # None blocks an import
    subprocess.signal = SimpleNamespace(**vars(signal))  # pyright: ignore  # it kills by a signal
    for module, names in NO_FUNCTIONS.items():
        for name in names:
            delattr(sys.modules[module], name)
    os.fsync, os.utime = strict_fsync, strict_utime
    warnings.filterwarnings("error", category=EncodingWarning, module=rf"({'|'.join(OURS)})\b")
    sys.addaudithook(rules.hear)
    sys.platform = "win32"


def run(arguments: list[str]) -> Ended:
    """Run one command with its output in pipes, which on Windows have an old encoding."""
    from bot.__main__ import main  # noqa: PLC0415  # imported as Windows imports it

    code = 0
    pipes = io.BytesIO(), io.BytesIO()
    before = sys.stdout, sys.stderr
    out, err = (io.TextIOWrapper(pipe, "cp1252", write_through=True) for pipe in pipes)
    sys.stdout, sys.stderr = out, err
    try:
        main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except Exception:  # noqa: BLE001  # the other commands run, too
        code = -1
        traceback.print_exc()
    finally:
        sys.stdout, sys.stderr = before
    return Ended(code, *(pipe.getvalue().decode() for pipe in pipes))


def _import_all(modules: list[str]) -> None:
    """Import modules of ours, and so all that they import."""
    for module in modules:
        importlib.import_module(module)


def main(report: Path) -> None:
    """Run the commands that stdin lists."""
    root = Path(tempfile.gettempdir())
    faults = report.with_suffix(".faults")
    interpreter = report.with_suffix(".sh")
    script = f'exec {sys.executable} -m tests.as_windows --child {shlex.quote(str(faults))} "$@"'
    interpreter.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    interpreter.chmod(0o700)
    commands: list[list[str]] = json.load(sys.stdin)
    _import_all([*ALL_OF_OURS, *ALWAYS])
    become_windows(Rules(faults, root))
    sys.executable = str(interpreter)
    ended = [asdict(run(arguments)) for arguments in commands]
    report.write_text(json.dumps(ended), "utf-8")


def child(faults: Path, arguments: list[str]) -> None:
    """Run a module as Windows would run `python -m MODULE ARGUMENTS`."""
    option, module, *rest = arguments
    assert option == "-m", arguments
    is_ours = module.split(".")[0] in OURS
    _import_all([*ALWAYS, *((module,) if is_ours else ALL_OF_OURS)])
    if is_ours and hasattr(sys.modules[module], "__path__"):
        _import_all([f"{module}.__main__"])
    become_windows(Rules(faults, Path(tempfile.gettempdir())))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        child(Path(sys.argv[2]), sys.argv[3:])
    else:
        main(Path(sys.argv[1]))
