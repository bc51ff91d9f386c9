"""Validates store keys, which are relative paths that stay inside the store."""

from pathlib import PurePosixPath


def checked(key: str) -> PurePosixPath:
    """Return `key` as a path below the store's root.

    Raises:
        ValueError: The key is absolute, empty or escapes the store.
    """
    pure = PurePosixPath(key)
    if pure.is_absolute() or not pure.parts or ".." in pure.parts:
        raise ValueError(f"not a key of the store: {key!r}")
    return pure
