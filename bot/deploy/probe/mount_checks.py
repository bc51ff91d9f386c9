"""The checks that the probe's containers make on the mount of a Volume."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

OLD, NEW, OPEN, COMMITTED = "old", "new", "open.txt", "committed.txt"
FILES = 20
_WAIT_SECONDS, _POLL_SECONDS = 120.0, 0.2


def rename_folder(mount: Path) -> tuple[str, str]:
    """Write, sync and rename a folder; return the errors of fsync and of rename."""
    for name in (OLD, NEW):
        shutil.rmtree(mount / name, ignore_errors=True)
    (mount / OLD).mkdir()
    fsync_error = _error(lambda: _write_synced(mount / OLD))
    return fsync_error, _error(lambda: (mount / OLD).rename(mount / NEW))


def sizes_and_times(mount: Path) -> dict[str, tuple[int, int]]:
    """Return the size and modification time (in whole seconds) of each file, by its path."""
    files = [path for path in mount.rglob("*") if path.is_file()]
    found = {path.relative_to(mount).as_posix(): path.stat() for path in files}
    return {path: (its.st_size, int(its.st_mtime)) for path, its in found.items()}


def wait_until(is_ready: Callable[[], bool]) -> None:
    """Wait until another container has made `is_ready()` return True.

    Raises:
        TimeoutError: It did not return True in time.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while not is_ready():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"the other container was not ready within {_WAIT_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def _write_synced(folder: Path) -> None:
    for number in range(FILES):
        with (folder / f"{number}.bin").open("wb") as file:
            file.write(bytes(1024))
            file.flush()
            os.fsync(file.fileno())
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _error(call: Callable[[], object]) -> str:
    try:
        call()
    except OSError as error:
        return error.strerror or str(error)
    return ""
