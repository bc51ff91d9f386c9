"""Names of temporary files and folders; each name identifies the process that owns it.

If that process is killed, other processes can tell from the name that the file is abandoned. This
module imports only the standard library, because it also runs in musubi-tuner's environment.
"""

import functools
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"
SCRATCH = ".lorabot-"
# An owner is a process. It is identified by its process id, its start time (because ids are reused)
# and its place: machines and containers that share a folder may use the same ids.
_UNKNOWN = "0"  # used as the start time and as the place on systems other than Linux
_OWNER = re.compile(r"(?:^|[.-])p(?P<pid>\d+)-(?P<started>\d+)-(?P<place>\d+)(?=[.-]|$)")


def owner_mark() -> str:
    """Return the part of a temporary file's name that marks this process as its owner."""
    return _mark(os.getpid())


def partial_name(name: str, *, what: str = "") -> str:
    """Return the temporary name under which this process writes a file called `name`."""
    return f".{name}{what}.{owner_mark()}{PARTIAL}"


def is_abandoned(name: str) -> bool | None:
    """Return whether the owner of a temporary file or folder is gone; None if that is unknown."""
    found = _OWNER.search(name)
    if found is None or found["started"] == _UNKNOWN or found["place"] != _place():
        return None
    return _started(int(found["pid"])) != found["started"]


@contextmanager
def scratch_folder(purpose: str, parent: Path | None = None) -> Generator[Path]:
    """Yield an empty folder, by default on the system's temporary disk, and delete it at the end.

    Before that, delete scratch folders in the same parent whose owners were killed.
    """
    folder = make_scratch_folder(purpose, parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_scratch_folder(purpose: str, parent: Path | None = None) -> Path:
    """Create a folder as `scratch_folder` does, and return it; the caller must delete it."""
    where = parent or Path(tempfile.gettempdir())
    remove_abandoned(where, f"{SCRATCH}*")
    return Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{purpose}-{owner_mark()}-", dir=where))


def remove_abandoned(folder: Path, pattern: str) -> None:
    """Delete temporary files and folders whose names match `pattern` and whose owners are gone."""
    for left in folder.glob(pattern):
        if not is_abandoned(left.name):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


@functools.lru_cache(1)
def _mark(pid: int) -> str:
    return f"p{pid}-{_started(pid)}-{_place()}"


def _started(pid: int) -> str | None:
    """Return when a process started, in clock ticks since boot; None if it does not run any more.

    A killed process that nobody has waited for is still listed, as a zombie.
    """
    try:
        facts = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return None if Path("/proc/self").exists() else _UNKNOWN
    # The state is field 3, the start time field 22. Field 2, a name in parentheses, may contain
    # spaces.
    state, *rest = facts[facts.rindex(b")") + 2 :].split()
    return None if state in (b"Z", b"X") else rest[18].decode()


@functools.lru_cache(1)
def _place() -> str:
    """Return digits that identify this boot of the machine and this process's PID namespace."""
    try:
        namespace = Path("/proc/self/ns/pid").readlink()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    except OSError:
        return _UNKNOWN
    return str(zlib.crc32(f"{namespace} {boot}".encode()))
