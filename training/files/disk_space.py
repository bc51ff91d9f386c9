"""Handles full disks: checks for room before a stage writes, and retries small writes."""

import errno
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from training.errors import StageError
from training.files.sizes import size
from training.remedies import ResumeRun

T = TypeVar("T")
NOTHING_LOST = "Everything fetched so far is kept, and the next attempt continues from there."
RETRY_SECONDS = 1.0
# A disk with less room than this counts as full. Adding one entry to a local queue, including
# SQLite's journal, takes about 30 KiB.
_LEAST_BYTES = 64 * 1024


def is_full(error: BaseException) -> bool:
    """Return whether an error means that a disk or quota has no room for more bytes or files."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def when_room(
    write: Callable[[], T],
    *,
    patience_seconds: float,
    pause: Callable[[float], object] = time.sleep,
) -> T:
    """Return the result of `write`; while the disk is full, pause and try again.

    `write` must be safe to repeat. If `pause` returns True, give up.

    Raises:
        OSError: The disk stayed full for `patience_seconds`, or something else failed.
    """
    gives_up_at = time.monotonic() + patience_seconds
    while True:
        try:
            return write()
        except OSError as error:
            if not is_full(error) or time.monotonic() >= gives_up_at or pause(RETRY_SECONDS):
                raise


def shortage(folder: Path) -> str | None:
    """Return a message if the disk or quota of `folder` is full; None if there is room."""
    if sys.platform == "win32" or not folder.is_dir():
        return None
    facts = os.statvfs(folder)
    is_root = os.geteuid() == 0  # some blocks and files are reserved for root
    blocks = facts.f_bfree if is_root else facts.f_bavail
    files = facts.f_ffree if is_root else facts.f_favail
    if facts.f_blocks and blocks * facts.f_frsize < _LEAST_BYTES:
        return "The bot's disk is full. The run continues when there is room again."
    if facts.f_files and files == 0:
        return "The bot's disk cannot hold more files. The run continues once some are deleted."
    if _is_over_quota(folder):
        return "The bot's disk quota is used up. The run continues when there is room again."
    return None


def _is_over_quota(folder: Path) -> bool:
    """Return whether a disk quota leaves no room in `folder`; `statvfs` does not report quotas.

    This tries to reserve room for an unnamed temporary file, which disappears when it is closed.
    """
    if sys.platform != "linux":
        return False
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _LEAST_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:  # other errors: the file system may not support unnamed files
        return error.errno == errno.EDQUOT
    return False


def require_room(folder: Path, need_bytes: int, what: str) -> None:
    """Raise `StageError` if the disk of `folder` has less than `need_bytes` free."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < need_bytes:
        cause = f"The disk has {size(free_bytes)} left, and {what} needs {size(need_bytes)}."
        raise _no_room(folder, cause)


def disk_full(folder: Path, what: str) -> StageError:
    """Return the error for a disk that filled up while `what` was being written."""
    return _no_room(folder, f"The disk is full, and {what} is not complete.")


def _no_room(folder: Path, cause: str) -> StageError:
    return StageError(
        cause,
        f"Free up space on the disk of {folder}, then resume the run. {NOTHING_LOST}",
        ResumeRun(),
    )
