"""`LiveValues` in a `modal.Dict`: one small value per stage, replaced every few seconds."""

import logging

from training.backends.modal.dict_port import SharedDict

logger = logging.getLogger(__name__)


class ModalLiveValues:
    """Keeps the latest value of each key as an entry of a Dict."""

    # Update rarely, because each update is a network call during which the container is billed.
    pause_seconds = 3.0

    def __init__(self, entries: SharedDict) -> None:
        self._entries = entries

    def publish(self, key: str, data: bytes) -> None:
        """Replace the value of `key`; an update may be lost."""
        try:
            self._entries.put(key, data.decode())
        except ConnectionError:
            logger.warning("the progress record %s was not updated", key, exc_info=True)

    def read(self, key: str) -> bytes | None:
        value = self._entries.get(key)
        return str(value).encode() if value is not None else None
