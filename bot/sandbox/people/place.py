"""Where a person looks: a server and a channel."""

from dataclasses import dataclass

from bot.sandbox.wire import Json


@dataclass(frozen=True, slots=True)
class Place:
    """Who acts and where."""

    user: Json
    channel: Json
