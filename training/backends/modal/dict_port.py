"""The operations that the Modal adapters need of a `modal.Dict`, each atomic on one key.

Values are plain JSON: several versions of this project may read and write them.
"""

from typing import Protocol


class SharedDict(Protocol):
    """Keys that all containers share; an entry expires 7 days after the last access.

    Each call raises `OSError` if the Dict cannot be reached; a write may have succeeded even so.
    """

    def get(self, key: str) -> object | None: ...

    def put(self, key: str, value: object, *, skip_if_exists: bool = False) -> bool:
        """Store a value; return False if `skip_if_exists` is set and the key exists.

        A call that created the key may return False too: if its first answer was lost, the retry
        finds the key that the first attempt stored.
        """
        ...

    def pop(self, key: str) -> object | None:
        """Remove `key` and return its value, None if there is none."""
        ...

    def contains(self, key: str) -> bool: ...

    def items(self) -> list[tuple[str, object]]:
        """Return all keys with their values, unordered; slow if there are many."""
        ...
