"""A `modal.Dict` as a `SharedDict` that retries while Modal does not answer."""

import logging
from collections.abc import Callable
from typing import TypeVar

import modal
from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_before_delay,
    wait_exponential,
)

from training.backends.modal.errors import as_file_errors

T = TypeVar("T")
PATIENCE_SECONDS = 15.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 4.0
_REMOVED = "a Dict of this installation was removed. Restart what uses it to make a new one"
logger = logging.getLogger(__name__)


class ModalDict:
    """One named Dict, for synchronous code.

    Args:
        entries: The Dict.
        patience_seconds: How long a call is retried while Modal does not answer; the client
            itself retries for about a second.

    Every method may raise:
        ConnectionError: Modal could not be reached in that time.
        PermissionError: It refuses the token of this installation.
        FileNotFoundError: The Dict was removed.
    """

    def __init__(self, entries: modal.Dict, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._entries = entries
        self._patience_seconds = patience_seconds

    def get(self, key: str) -> object | None:
        return self._ask(key, lambda: self._entries.get(key))

    def put(self, key: str, value: object, *, skip_if_exists: bool = False) -> bool:
        return self._ask(key, lambda: self._entries.put(key, value, skip_if_exists=skip_if_exists))

    def pop(self, key: str) -> object | None:
        return self._ask(key, lambda: self._entries.pop(key, None))

    def contains(self, key: str) -> bool:
        return self._ask(key, lambda: self._entries.contains(key))

    def items(self) -> list[tuple[str, object]]:
        return self._ask("all entries", lambda: list(self._entries.items()))

    def _ask(self, key: str, call: Callable[[], T]) -> T:
        for attempt in Retrying(
            retry=retry_if_exception_type(ConnectionError),
            stop=stop_before_delay(self._patience_seconds),
            wait=wait_exponential(_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS),
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        ):
            with attempt, as_file_errors(key, missing=_REMOVED):
                return call()
        raise AssertionError("retrying ends by a return or an error")
