"""Reads small files whose paths the user gives."""

import stat
from pathlib import Path

from training.errors import NotFoundError, RequestError


def require_regular(path: Path) -> None:
    """Refuse a path that is not a regular file; reading a pipe or a device might never end.

    Raises:
        NotFoundError: There is no such file, or it cannot be accessed.
        RequestError: It is not a regular file.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}.", "Check the path.") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(mode):
        raise _irregular(path)


def read_given(path: Path, most_bytes: int) -> bytes:
    """Return the content of a regular file; refuse others, since reading a device may never end.

    Raises:
        NotFoundError: There is no such file, or it cannot be read.
        RequestError: It is not a regular file, or it is larger than `most_bytes`.
    """
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and found.st_size <= most_bytes:
            return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise _irregular(path)
    raise RequestError(
        f"{path} has {found.st_size:,} bytes; the limit for such a file is {most_bytes:,}.",
        "Check that this is the file you meant.",
    )


def _unreadable(path: Path, error: OSError) -> NotFoundError:
    return NotFoundError(f"Cannot read {path}: {error.strerror}.", "Check the path.")


def _irregular(path: Path) -> RequestError:
    return RequestError(f"{path} is not a regular file.", "Give the path of a file on a disk.")
