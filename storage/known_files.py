"""Small files that a process has read or written, and need not fetch again while they are so."""

import threading
from collections import OrderedDict

MIB = 1 << 20
KEPT_BYTES = 32 * MIB


class KnownFiles:
    """The newest few by key; what was not asked for the longest goes first."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes, self._size_bytes = kept_bytes, 0
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """Return the content of a file, None when it is not known."""
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
            return self._files.get(key)

    def put(self, key: str, data: bytes) -> None:
        """Know a file; its content replaces what was known."""
        with self._lock:
            self._remove(key)
            self._files[key] = data
            self._size_bytes += len(data)
            while self._size_bytes > self._kept_bytes:
                self._remove(next(iter(self._files)))

    def forget(self, prefix: str) -> None:
        """Forget a file, or all below a folder."""
        with self._lock:
            for key in [key for key in self._files if f"{key}/".startswith(f"{prefix}/")]:
                self._remove(key)

    def _remove(self, key: str) -> None:
        self._size_bytes -= len(self._files.pop(key, b""))
