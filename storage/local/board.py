"""A `Board` in a store, for stores where writing a small file is cheap."""

from training.ports import Store


class StoreBoard:
    """One file per key."""

    # Cards are edited every few seconds at most, so writing more often only wears the disk.
    pause_seconds = 0.5

    def __init__(self, store: Store) -> None:
        self._store = store

    def show(self, key: str, data: bytes) -> None:
        self._store.write(key, data)

    def read(self, key: str) -> bytes | None:
        try:
            return self._store.read(key)
        except FileNotFoundError:
            return None
