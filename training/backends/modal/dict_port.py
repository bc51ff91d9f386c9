"""The operations on a `modal.Dict` that the Modal adapters need; each is atomic for one key.

Values are plain JSON, because different versions of this project may read and write them.
"""

from typing import Protocol


class SharedDict(Protocol):
    """A dict that all containers share; an entry expires 7 days after its last access.

    Each method raises `OSError` if Modal cannot be reached. Even then, a write may have succeeded.
    """

    def get(self, key: str) -> object | None: ...

    def put(self, key: str, value: object, *, skip_if_exists: bool = False) -> bool:
        """Store a value; return False if `skip_if_exists` is set and the key exists.

        It may return False even if this call created the key: if Modal's first reply is lost, the
        client tries again and finds the key already there.
        """
        ...

    def pop(self, key: str) -> object | None:
        """Remove `key` and return its value, or None if there is none."""
        ...

    def contains(self, key: str) -> bool: ...

    def items(self) -> list[tuple[str, object]]:
        """Return all keys with their values, unordered; slow if there are many."""
        ...
