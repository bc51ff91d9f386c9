"""Remembers which large files this machine has read completely and verified.

Reading tens of gigabytes before every run would take longer than the run's other preparations. So a
file is read when it is first used on a machine or in a container. It is read again after a day, or
if its path, inode, size or modification time has changed.
"""

import getpass
import hashlib
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_TRUSTED_SECONDS = 24 * 60 * 60


def is_right(path: Path, wanted: str, check: Callable[[], bool]) -> bool:
    """Return whether a file has the content `wanted`; call `check` unless it succeeded recently.

    Args:
        path: The file.
        wanted: An id of the content that the file should have, such as a SHA-256.
        check: Reads the file and returns whether it has that content.
    """
    folder = Path(tempfile.gettempdir()) / f"lorabot-read-{getpass.getuser()}"
    stamp = folder / _identity(path, wanted)
    with suppress(OSError):
        if 0 <= time.time() - stamp.stat().st_mtime < _TRUSTED_SECONDS:
            return True
    if not check():
        return False
    with suppress(OSError):  # without a stamp, the file is read again the next time
        folder.mkdir(mode=0o700, exist_ok=True)
        _remove_old(folder)
        stamp.touch(0o600)
    return True


def _identity(path: Path, wanted: str) -> str:
    facts = path.stat()
    parts = (path.resolve(), facts.st_ino, facts.st_size, facts.st_mtime_ns, wanted)
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def _remove_old(folder: Path) -> None:
    for stamp in folder.iterdir():
        if time.time() - stamp.stat().st_mtime >= _TRUSTED_SECONDS:
            stamp.unlink(missing_ok=True)
