"""Faults on demand: dropped sockets, outages, delays, errors, duplicates, deletions."""

import asyncio
from dataclasses import dataclass

from bot.sandbox.gateway.gateway import Gateway
from bot.sandbox.wire import ApiError
from bot.sandbox.world.changes import Changes
from bot.sandbox.world.messages import Messages
from bot.sandbox.world.world import THREADS, World


@dataclass(slots=True)
class Faults:
    """Fault switches for tests and demos, all off by default."""

    gateway: Gateway
    messages: Messages
    world: World
    changes: Changes
    failing: int = 0
    status: int = 500
    delay_seconds: float = 0.0
    duplicates: int = 0

    def drop_sockets(self) -> None:
        self.gateway.drop_sockets()

    def invalidate_sessions(self) -> None:
        self.gateway.invalidate_sessions()

    def ask_to_reconnect(self) -> None:
        self.gateway.ask_to_reconnect()

    def fall_silent(self, *, is_on: bool) -> None:
        """Stop or resume answering heartbeats, like a half-open connection."""
        self.gateway.acknowledges = not is_on

    def fail_next(self, count: int, status: int = 500) -> None:
        """Fail the bot's next `count` REST requests with this status."""
        self.failing, self.status = count, status

    def delay(self, seconds: float) -> None:
        """Delay every REST response from now on; 0 turns it off."""
        self.delay_seconds = seconds

    def duplicate_next_interaction(self) -> None:
        """Deliver the next interaction twice."""
        self.duplicates += 1

    def outage(self, *, is_on: bool) -> None:
        """Start or end an outage: no gateway, and 503 for every REST request."""
        self.gateway.accepts = not is_on
        if is_on:
            self.gateway.drop_sockets()

    def delete_message(self, message_id: str) -> None:
        """Delete a message as a moderator would."""
        self.messages.delete(self.messages.find(message_id))

    def delete_channel(self, channel_id: str) -> None:
        channel = self.world.channel(channel_id)
        self.world.forget_channel(channel_id)
        is_thread = channel["type"] in THREADS
        self.changes.publish("thread_delete" if is_thread else "channel_delete", channel)

    def take_duplicate(self) -> bool:
        """Return whether to send the current interaction twice."""
        if self.duplicates:
            self.duplicates -= 1
            return True
        return False

    async def strike(self) -> None:
        """Apply the active faults to the REST request being handled."""
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if not self.gateway.accepts:
            raise ApiError(503, 0, "503: Service Unavailable")
        if self.failing:
            self.failing -= 1
            raise ApiError(self.status, 0, f"{self.status}: fault on demand")
