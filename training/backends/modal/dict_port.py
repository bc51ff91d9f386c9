"""What the adapters for Modal need of a `modal.Dict`: single keys, every operation atomic.

Values are plain JSON: several versions of this project may read and write them.
"""

from typing import Protocol


class SharedDict(Protocol):
    """Keys that all containers see; an entry that nobody touched for 7 days is gone.

    Each call raises `OSError` when the entries cannot be reached; a write may have happened then.
    """

    def get(self, key: str) -> object | None:
        """Return the value of `key`, None when there is none."""
        ...

    def put(self, key: str, value: object, *, skip_if_exists: bool = False) -> bool:
        """Store a value; return False if `skip_if_exists` is asked for and there is one.

        A call that created the key may return False as well: its first answer was lost, and its
        second try found what the first had stored.
        """
        ...

    def pop(self, key: str) -> object | None:
        """Remove `key` and return its value, None when there is none."""
        ...

    def contains(self, key: str) -> bool:
        """Return whether `key` has a value."""
        ...

    def items(self) -> list[tuple[str, object]]:
        """Return all keys with their values, in no order; slow when there are many."""
        ...
