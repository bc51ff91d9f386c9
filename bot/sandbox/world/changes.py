"""Change notifications from the world to the gateway and the chat pages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bot.sandbox.wire import Json

ChangeKind = Literal[
    "message_create",
    "message_update",
    "message_delete",
    "thread_create",
    "thread_update",
    "thread_delete",
    "channel_create",
    "channel_delete",
    "member_update",
    "pins_update",
    "typing",
    "interaction",
    "commands",
]


@dataclass(frozen=True, slots=True)
class Change:
    """One change; `record` is the stored record, not an API payload."""

    kind: ChangeKind
    record: Json


class Changes:
    """Calls every listener synchronously, in order of registration."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Change], None]] = []

    def listen(self, listener: Callable[[Change], None]) -> None:
        self._listeners.append(listener)

    def publish(self, kind: ChangeKind, record: Json) -> None:
        for listener in self._listeners:
            listener(Change(kind, record))
