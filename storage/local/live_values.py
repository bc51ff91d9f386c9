"""Keeps `LiveValues` in a store; meant for stores where writing a small file is cheap."""

import logging

from training.ports import Store

logger = logging.getLogger(__name__)


class StoreLiveValues:
    """Keeps the latest value of each key as a small file."""

    # Users see the values in cards, which are edited only every few seconds, so more frequent
    # writes would have no effect.
    pause_seconds = 0.5

    def __init__(self, store: Store) -> None:
        self._store = store

    def publish(self, key: str, data: bytes) -> None:
        """Replace the value of `key`; an update is lost if it cannot be written."""
        try:
            self._store.write(key, data)
        except OSError as error:
            logger.debug("the progress record %s was not updated: %s", key, error)

    def read(self, key: str) -> bytes | None:
        try:
            return self._store.read(key)
        except FileNotFoundError:
            return None
