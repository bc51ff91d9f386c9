"""Appends to a file; while the disk is full, the bytes wait in memory."""

import os
from contextlib import suppress
from pathlib import Path

from training.files.disk_space import is_full


class PatientFile:
    """Appends bytes to a file, in order, creating it if necessary.

    Args:
        path: The file; its folder must exist.
        most_bytes: How many bytes may wait in memory; beyond that, the oldest are dropped. None
            means no limit.
    """

    def __init__(self, path: Path, most_bytes: int | None = None) -> None:
        self._path, self._most_bytes = path, most_bytes
        self._waiting = bytearray()
        self._fd = -1

    def write(self, data: bytes) -> None:
        """Append `data`; if the disk is full, keep it in memory for the next call.

        Raises:
            OSError: The file cannot be written for a reason other than a full disk.
        """
        self._waiting += data
        try:
            self.flush()
        except OSError as error:
            if self._most_bytes is not None:
                del self._waiting[: -self._most_bytes]
            if not is_full(error):
                raise

    def flush(self) -> None:
        """Write the waiting bytes.

        Raises:
            OSError: The disk is full, or the file cannot be written.
        """
        if self._waiting and self._fd < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o666)
        while self._waiting:
            del self._waiting[: os.write(self._fd, self._waiting)]

    def close(self) -> None:
        """Write as many of the waiting bytes as possible, and close the file."""
        with suppress(OSError):
            self.flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
