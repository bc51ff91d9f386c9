"""A `modal.Dict` as a `SharedDict`: patient with a network that fails for a moment."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import modal
import modal.exception

from storage.modal.errors import UNREACHABLE

T = TypeVar("T")
PATIENCE_SECONDS = 15.0
_LONGEST_PAUSE_SECONDS = 4.0
_REFUSED = (modal.exception.AuthError, modal.exception.PermissionDeniedError)
logger = logging.getLogger(__name__)


class ModalDict:
    """One named Dict, for code without an event loop.

    Args:
        entries: The Dict.
        patience_seconds: How long a call is tried again while Modal does not answer; the client
            itself tries for about a second.
    """

    def __init__(self, entries: modal.Dict, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._entries = entries
        self._patience_seconds = patience_seconds

    def get(self, key: str) -> object | None:
        """Return the value of `key`, None when there is none."""
        return self._ask(lambda: self._entries.get(key))

    def put(self, key: str, value: object, *, skip_if_exists: bool = False) -> bool:
        """Store a value; return False if `skip_if_exists` is asked for and there may be one."""
        return self._ask(lambda: self._entries.put(key, value, skip_if_exists=skip_if_exists))

    def pop(self, key: str) -> object | None:
        """Remove `key` and return its value, None when there is none."""
        return self._ask(lambda: self._entries.pop(key, None))

    def contains(self, key: str) -> bool:
        """Return whether `key` has a value."""
        return self._ask(lambda: self._entries.contains(key))

    def items(self) -> list[tuple[str, object]]:
        """Return all keys with their values, in no order; slow when there are many."""
        return self._ask(lambda: list(self._entries.items()))

    def _ask(self, call: Callable[[], T]) -> T:
        """Call Modal, again and again while it cannot be reached.

        Raises:
            ConnectionError: It could not be reached for the whole time.
            PermissionError: It refuses the token of this installation.
            FileNotFoundError: The Dict was removed.
        """
        gives_up_at = time.monotonic() + self._patience_seconds
        pause = 0.25
        while True:
            try:
                return call()
            except _REFUSED as error:
                raise PermissionError(
                    f"Modal refuses this installation's token: {error}."
                    " Make a new one with `modal token new`."
                ) from error
            except modal.exception.NotFoundError as error:
                raise FileNotFoundError(
                    f"A Dict of this installation was removed from Modal: {error}."
                    " Restart what uses it: it makes a new one."
                ) from error
            except UNREACHABLE as error:
                if time.monotonic() + pause > gives_up_at:
                    raise ConnectionError(f"Modal did not answer: {error!r}") from error
                logger.warning("Modal did not answer, trying again: %r", error)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
