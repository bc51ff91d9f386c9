"""Locks on files; a lock is released when the process that holds it ends."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    from filelock import FileLock
else:
    import fcntl


@contextmanager
def open_alone(path: Path) -> Generator[BinaryIO]:
    """Yield a file opened for reading and writing; other callers wait until it is closed.

    A missing file is created.
    """
    if sys.platform == "win32":
        # Lock a separate file: on Windows, a lock on the file itself would keep even this process
        # from reading it.
        with FileLock(path.with_name(f"{path.name}.lock")), _opened(path) as file:
            yield file
    else:
        with _opened(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def hold(file: BinaryIO) -> bool:
    """Lock an open file and return True; return False if another process holds its lock.

    Child processes that inherit the open file hold the lock, too. This does not work on Windows.
    """
    assert sys.platform != "win32"
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Return whether a process has locked a file with `hold`; False if there is no such file."""
    if sys.platform == "win32":
        return False
    try:
        with path.open("rb") as file:
            # Ask for a shared lock: two processes that look at the same time both get it, so
            # neither takes the other for the holder.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _opened(path: Path) -> BinaryIO:
    # The file is unbuffered, so that each write is a single system call.
    return open(path, "r+b", buffering=0, opener=_create)


def _create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)
