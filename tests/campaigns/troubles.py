"""Everything that goes wrong between a bot, Discord and its users, at random moments."""

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bot.sandbox.server import SandboxServer
from tests.campaigns.operated import OperatedBot

_CALLBACK = "POST /interactions/{interaction_id}/{interaction_token}/callback"
_EDIT = "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/@original"
_READERS = 60
# For so long after a trouble, a command may be missed: the bot connects anew and catches up.
_AFTER_SECONDS = 15.0


@dataclass
class Troubles:
    """Makes trouble for one bot.

    Attributes:
        zip_link: A download that slow readers begin.
        made: How often there was each kind of trouble.
    """

    server: SandboxServer
    bot: OperatedBot
    choose: random.Random
    zip_link: str
    pause_seconds: float = 6.0
    made: Counter[str] = field(default_factory=Counter[str])
    _last_at: float = float("-inf")
    _readers: list[socket.socket] = field(default_factory=list[socket.socket])

    async def work(self) -> None:
        """Make some trouble every now and then, until cancelled."""
        try:
            while True:
                await asyncio.sleep(self.choose.expovariate(1 / self.pause_seconds))
                kind = self.choose.choices(list(_ACTS), [weight for weight, _ in _ACTS.values()])[0]
                await self._make(kind)
        finally:
            self._leave()
            self.server.faults.outage(is_on=False)
            self.server.faults.delay_seconds = 0.0

    async def _make(self, kind: str) -> None:
        if kind in _MAY_COST_COMMANDS:
            self._last_at = float("inf")
        await _ACTS[kind][1](self)
        if kind in _MAY_COST_COMMANDS:
            self._last_at = time.monotonic()
        self.made[kind] += 1

    def was_calm(self, since: float) -> bool:
        """Return whether no command asked at `since`, by the monotonic clock, may be missed."""
        return self._last_at + _AFTER_SECONDS < since and self.bot.was_up(since - _AFTER_SECONDS)

    async def drop(self) -> None:
        self.server.gateway.drop_sockets()

    async def forget(self) -> None:
        """Forget the bot's sessions, so that it has to identify anew."""
        self.server.gateway.invalidate_sessions()

    async def fail(self) -> None:
        self.server.faults.fail_next(self.choose.randint(1, 4), self.choose.choice([500, 502, 503]))

    async def limit(self) -> None:
        channels = [one["id"] for one in self.server.world.channels.values()]
        self.server.faults.limit_channel(self.choose.choice(channels), seconds=15.0, requests=2)

    async def delay(self) -> None:
        self.server.faults.delay_seconds = 0.5
        await asyncio.sleep(5.0)
        self.server.faults.delay_seconds = 0.0

    async def duplicate(self) -> None:
        self.server.faults.duplicates = 3

    async def reset(self) -> None:
        moment = self.choose.choice(["before", "after"])
        operation = self.choose.choice([_CALLBACK, _EDIT])
        self.server.faults.resets[operation] = ["before" if moment == "before" else "after"]

    async def outage(self) -> None:
        self.server.faults.outage(is_on=True)
        await asyncio.sleep(self.choose.uniform(1.0, 5.0))
        self.server.faults.outage(is_on=False)

    async def break_downloads(self) -> None:
        self.server.faults.downloads = ["503", "cut"]

    async def read_slowly(self) -> None:
        """Let many people begin a download and read nothing of it, in place of those before."""
        self._leave()
        self._readers = await asyncio.to_thread(self._begin)

    async def kill(self) -> None:
        await self.bot.kill()

    def _begin(self) -> list[socket.socket]:
        parts, found = urlsplit(self.zip_link), list[socket.socket]()
        for _ in range(_READERS):
            try:
                reader = socket.create_connection((parts.hostname, parts.port or 80), 2.0)
            except OSError:  # the bot is down
                break
            reader.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            found.append(reader)
        return found

    def _leave(self) -> None:
        for reader in self._readers:
            reader.close()
        self._readers = []


_ACTS: Mapping[str, tuple[float, Callable[[Troubles], Awaitable[None]]]] = {
    "dropped connection": (2.0, Troubles.drop),
    "forgotten session": (0.5, Troubles.forget),
    "failed requests": (2.0, Troubles.fail),
    "channel that asks to wait": (2.0, Troubles.limit),
    "slow answers": (1.0, Troubles.delay),
    "commands delivered twice": (2.0, Troubles.duplicate),
    "reset connection": (2.0, Troubles.reset),
    "outage": (0.5, Troubles.outage),
    "broken attachments": (1.0, Troubles.break_downloads),
    "slow readers": (1.0, Troubles.read_slowly),
    "killed bot": (0.4, Troubles.kill),
}
# After these, the bot does not hear of a command, or cannot take it in time.
_MAY_COST_COMMANDS = {
    "dropped connection",
    "forgotten session",
    "failed requests",
    "reset connection",
    "outage",
    "killed bot",
}
