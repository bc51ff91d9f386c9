"""A `modal.Dict` as a `SharedDict` that retries while Modal does not answer."""

from collections.abc import Callable
from typing import TypeVar

import modal

from training.backends.modal.errors import ask

T = TypeVar("T")
PATIENCE_SECONDS = 15.0
_REMOVED = "a Dict of this deployment was deleted; a restart creates it again"


class ModalDict:
    """One named Dict, for synchronous code.

    Args:
        entries: The Dict.
        patience_seconds: How long a call is retried while Modal does not answer; the client
            itself retries for about a second.
        busy_seconds: How long a call is retried while Modal asks callers to wait. Defaults to
            `patience_seconds` rather than the five minutes allowed elsewhere, because a lease or
            chat reply that is minutes late is useless.

    Every method may raise:
        ConnectionError: After all retries, Modal cannot be reached or still asks callers to wait.
        PermissionError: Modal refuses this installation's token.
        FileNotFoundError: The Dict was removed.
    """

    def __init__(
        self,
        entries: modal.Dict,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        busy_seconds: float | None = None,
    ) -> None:
        self._entries = entries
        self._patience_seconds = patience_seconds
        self._busy_seconds = patience_seconds if busy_seconds is None else busy_seconds

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
        return ask(
            key,
            call,
            missing=_REMOVED,
            patience_seconds=self._patience_seconds,
            busy_seconds=self._busy_seconds,
        )
