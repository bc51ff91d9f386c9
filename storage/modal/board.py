"""A `Board` in a `modal.Dict`: one small value a stage, replaced every few seconds."""

import logging

from training.backends.modal.dict_port import SharedDict

logger = logging.getLogger(__name__)


class ModalBoard:
    """Every value is an entry of a Dict."""

    # Each value is a call over the network from a container that is paid for.
    pause_seconds = 3.0

    def __init__(self, entries: SharedDict) -> None:
        self._entries = entries

    def show(self, key: str, data: bytes) -> None:
        """Replace the value of `key`; one that cannot be shown is lost, as any may be."""
        try:
            self._entries.put(key, data.decode())
        except ConnectionError:
            logger.warning("the progress %s could not be shown", key, exc_info=True)

    def read(self, key: str) -> bytes | None:
        """Return the newest value of `key`, None when there is none."""
        value = self._entries.get(key)
        return str(value).encode() if value is not None else None
