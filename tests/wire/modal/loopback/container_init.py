"""Starts containers: forks the first process of each, which no process of the container outlives.

Run by its path with the interpreter of the containers and a socket as its standard input:
`python container_init.py FOLDER`. It imports Modal's client once; a container begins with that
import done. For each version of the product's code it forks a process that imports that too, and
from which the containers with that code are forked; code that cannot be imported fails in the
container. Nothing else is in common. When the socket closes, it removes FOLDER, which holds the
interpreter and the code, and ends; the kernel then tells every container to end.

The first process stands for the PID namespace of a real container. SIGINT, SIGTERM and SIGUSR1 go
on to the container's program; SIGHUP, which the kernel also sends when the control plane dies,
kills the container.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
PROGRAM = "modal._container_entrypoint"
# They read nothing of a container's environment when they are imported. torch and huggingface_hub
# do, so they are not among them; NumPy, which the product's stages import, reads only its threads.
PRELOADED = (
    *("modal", "modal._runtime.user_code_imports", "aiohttp", "discord", "httpx", "psutil"),
    *("pydantic", "pydantic.main", "pydantic.type_adapter"),
)
# What the product's Functions import when they are called, but for the Apps themselves.
PRODUCT = (
    *("training.deployment.modal_images", "training.pipeline.logging_setup"),
    *("storage.modal.runtime", "training.backends.modal.functions"),
    *("training.pipeline.stages.prepare", "training.pipeline.stages.fetch"),
    *("training.pipeline.stages.cache", "training.pipeline.stages.train"),
    *("training.pipeline.stages.publish", "bot.hosting.container", "bot.hosting.modal"),
)
REQUEST_BYTES = 1 << 17


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process.

    Raises:
        OSError: The kernel refused.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl failed")


def descendants() -> list[int]:
    """Return the processes below this one, zombies too; orphans among them are adopted by it."""
    children: dict[int, list[int]] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError, IndexError):  # it ended while we look
                stat = (process / "stat").read_text("utf-8", "replace")
                parent = int(stat.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(process.name))
    found, todo = list[int](), [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def kill_all() -> None:
    """Kill and reap processes until none is left.

    A process may start another while it is being killed, and one whose main thread is gone looks
    like a zombie while its other threads still run.
    """
    while living := descendants():
        for pid in living:
            forward(pid, signal.SIGKILL)
        reap_all()
        time.sleep(0.002)


def forward(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def reap_all() -> None:
    """Reap the children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def supervise(child: int, status: int) -> None:
    """Be the first process of a container until its program ends, and report how, as a shell."""

    def end(code: int) -> None:
        kill_all()
        with contextlib.suppress(BrokenPipeError):
            os.write(status, b"%d\n" % code)
        os._exit(0)

    signal.signal(signal.SIGHUP, lambda _signal, _frame: end(128 + signal.SIGKILL))
    for number in FORWARDED:
        signal.signal(number, lambda received, _frame: forward(child, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*FORWARDED, signal.SIGHUP))
    while True:
        pid, result = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(result)
            end(code if code >= 0 else 128 - code)


def open_streams(out: int, err: int) -> None:
    """Read nothing and write to the pipes of the control plane."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(source, target)
        os.close(source)


def begin(starter: int, status: int, out: int, err: int) -> None:
    """Become the first process of a container; return in the process of its program."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*FORWARDED, signal.SIGHUP))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGHUP)
    if os.getppid() != starter:  # died before the kernel was told
        os._exit(1)
    open_streams(out, err)
    init = os.getpid()
    os.write(status, b"%d\n" % init)
    child = os.fork()
    if child:
        supervise(child, status)
    os.close(status)
    # A shell's background job ignores SIGINT, and its children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*FORWARDED, signal.SIGHUP))
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != init:
        os._exit(1)


def run(folder: str, env: dict[str, str]) -> None:
    """Run the program as `python -m` does in a folder and with an environment of its own."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.path[:0] = [folder, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[:] = [PROGRAM]
    runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)


def preload(names: tuple[str, ...]) -> None:
    """Import modules for all processes that are forked from now on."""
    for name in names:
        with contextlib.suppress(ImportError):  # a container that needs it fails itself
            importlib.import_module(name)
    gc.freeze()


def serve(control: socket.socket) -> tuple[int, bytes, list[int]] | None:
    """Fork a container for each request until the socket closes.

    Return, in a container only, the process that forked it, the request, and its files.
    """
    code, below = "", dict[str, socket.socket]()
    while True:
        starter = os.getpid()
        request, files, _, _ = socket.recv_fds(control, REQUEST_BYTES, 3)
        if not request:
            return None
        wanted = json.loads(request)["code"]
        if wanted == code:
            if not os.fork():
                for other in below.values():
                    other.close()
                return starter, request, files
        elif wanted in below or fork_below(control, below, wanted):
            socket.send_fds(below[wanted], [request], files)
        else:
            code = wanted
            sys.path.insert(0, code)
            preload(PRODUCT)
            sys.path.remove(code)
        for file in files:
            os.close(file)


def fork_below(control: socket.socket, below: dict[str, socket.socket], code: str) -> bool:
    """Fork a process that serves the requests of one code; return False in it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        if os.fork():
            below[code] = ours
            return True
        os.dup2(theirs.fileno(), control.fileno())
    for other in (ours, *below.values()):
        other.close()
    below.clear()
    return False


def main(python_folder: str) -> None:
    """Start a container for each request; in each container, run its program."""
    sys.path.pop(0)  # the folder of this file
    preload(PRELOADED)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: reap_all())
    with socket.socket(fileno=0) as control:
        found = serve(control)
        if found is None:
            shutil.rmtree(python_folder, ignore_errors=True)
            return
        control.detach()  # its number becomes the standard input
    starter, request, files = found
    begin(starter, *files)
    its = json.loads(request)
    run(its["folder"], its["env"])


if __name__ == "__main__":
    main(sys.argv[1])
