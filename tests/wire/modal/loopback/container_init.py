"""The first process of a container: no process of the container outlives it.

It stands for the PID namespace of a real container. Run by its path with the standard library
alone: `python -I -S container_init.py COMMAND...`. SIGINT, SIGTERM and SIGUSR1 go on to the
command; SIGHUP, which the kernel also sends when the control plane dies, kills the container.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


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
    """Kill and reap until nothing is left.

    A process may start another while it is being killed, and one whose main thread is gone looks
    like a zombie while its other threads still run.
    """
    while living := descendants():
        for pid in living:
            forward(pid, signal.SIGKILL)
        while reap():
            pass
        time.sleep(0.002)


def forward(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def reap() -> int:
    """Take one ended child off the table; return 0 when there is none."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0]
    except ChildProcessError:
        return 0


def start(command: list[str]) -> int:
    """Start the command and return its process id."""
    init = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    # A shell's background job ignores SIGINT, and its children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*FORWARDED, signal.SIGHUP))
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != init:
        os._exit(1)
    os.execv(command[0], command)
    raise AssertionError  # execv does not return


def main(parent: int, command: list[str]) -> int:
    """Run the command as a container; return its exit status as a shell does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*FORWARDED, signal.SIGHUP))
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGHUP)
    if os.getppid() != parent:  # died before the kernel was told
        return 1
    child = start(command)

    def kill(_signal: int, _frame: object) -> None:
        kill_all()
        os._exit(128 + signal.SIGKILL)

    signal.signal(signal.SIGHUP, kill)
    for number in FORWARDED:
        signal.signal(number, lambda received, _frame: forward(child, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*FORWARDED, signal.SIGHUP))
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            kill_all()
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
