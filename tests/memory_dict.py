"""A strict double of `modal.Dict`: single keys, atomic operations, values that are plain JSON."""

import json
import threading


class MemoryDict:
    """A `SharedDict` in memory; it stores JSON text, so that callers share no object with it."""

    def __init__(self, values: dict[str, str] | None = None) -> None:
        self.values = {} if values is None else values
        self._lock = threading.Lock()

    def get(self, key: str) -> object | None:
        with self._lock:
            return _parsed(self.values.get(key))

    def put(self, key: str, value: object, *, skip_if_exists: bool = False) -> bool:
        text = json.dumps(value, allow_nan=False)
        assert json.loads(text) == value, "not plain JSON"
        with self._lock:
            if skip_if_exists and key in self.values:
                return False
            self.values[key] = text
            return True

    def pop(self, key: str) -> object | None:
        with self._lock:
            return _parsed(self.values.pop(key, None))

    def contains(self, key: str) -> bool:
        with self._lock:
            return key in self.values

    def items(self) -> list[tuple[str, object]]:
        with self._lock:
            return [(key, json.loads(text)) for key, text in self.values.items()]


def _parsed(text: str | None) -> object | None:
    return None if text is None else json.loads(text)
