"""A limit on the memory of a process and all its children, as a container has it."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryLimit:
    """A control group of Linux.

    Attributes:
        command: What begins the command line of a process that is to be limited.
    """

    group: Path

    @property
    def command(self) -> tuple[str, ...]:
        enter = f'echo $$ > "{self.group}/cgroup.procs" && exec "$@"'
        return ("/bin/sh", "-c", enter, "sh")

    def kills(self) -> int:
        """Return how many processes the system has killed for lack of memory."""
        name = "memory.oom_control" if _is_v1() else "memory.events"
        facts = dict(line.split() for line in (self.group / name).read_text().splitlines())
        return int(facts["oom_kill"])

    def private_bytes(self) -> int:
        """Return the memory that the processes use now, without files that the system caches."""
        name = "total_rss" if _is_v1() else "anon"
        lines = (self.group / "memory.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)[name])


def can_limit_memory() -> bool:
    return os.geteuid() == 0 and os.access(_V1 if _is_v1() else _V2, os.W_OK) and _has_memory()


def _is_v1() -> bool:
    return _V1.is_dir()


def _has_memory() -> bool:
    control = _V2 / "cgroup.subtree_control"
    return _is_v1() or (control.is_file() and "memory" in control.read_text().split())


@contextmanager
def memory_limit(size_bytes: int) -> Generator[MemoryLimit]:
    """Make a control group; its processes must have ended when the body ends."""
    group = (_V1 if _is_v1() else _V2) / f"lorabot-test-{os.getpid()}"
    group.mkdir()
    try:
        name = "memory.limit_in_bytes" if _is_v1() else "memory.max"
        (group / name).write_text(str(size_bytes))
        yield MemoryLimit(group)
    finally:
        group.rmdir()
