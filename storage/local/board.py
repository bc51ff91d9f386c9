"""A `Board` in a store, where writing a small file costs next to nothing."""

from training.ports import Store


class StoreBoard:
    """Every value is a file of the store."""

    # A card is edited every few seconds at most; more often would only wear the disk.
    pause_seconds = 0.5

    def __init__(self, store: Store) -> None:
        self._store = store

    def show(self, key: str, data: bytes) -> None:
        """Replace the value of `key`."""
        self._store.write(key, data)

    def read(self, key: str) -> bytes | None:
        """Return the newest value of `key`, None when there is none."""
        try:
            return self._store.read(key)
        except FileNotFoundError:
            return None
