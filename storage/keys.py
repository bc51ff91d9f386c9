"""Keys of a store: relative paths that lead nowhere else."""

from pathlib import PurePosixPath


def checked(key: str) -> PurePosixPath:
    """Return `key` as a path below a store's root.

    Raises:
        ValueError: The key is absolute, empty or climbs out of the store.
    """
    pure = PurePosixPath(key)
    if pure.is_absolute() or not pure.parts or ".." in pure.parts:
        raise ValueError(f"not a key of the store: {key!r}")
    return pure
