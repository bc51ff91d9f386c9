"""Checks for free disk space before a stage writes."""

import shutil
from pathlib import Path

from training.errors import StageError
from training.remedies import ResumeRun

NOTHING_LOST = "What was fetched is kept, and the next attempt goes on from there."


def require_room(folder: Path, need_bytes: int, what: str) -> None:
    """Raise if the disk of `folder` has less than `need_bytes` free.

    Raises:
        StageError: The disk is too small.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < need_bytes:
        raise StageError(
            f"The disk has {_size(free_bytes)} left, and {what} needs {_size(need_bytes)}.",
            f"Free space on the disk of {folder}, then resume the run. {NOTHING_LOST}",
            ResumeRun(),
        )


def disk_full(folder: Path, what: str) -> StageError:
    """Return the error for a disk that filled up while `what` was being written."""
    return StageError(
        f"The disk is full, and {what} is not complete.",
        f"Free space on the disk of {folder}, then resume the run. {NOTHING_LOST}",
        ResumeRun(),
    )


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
