"""One queue of messages or edits for each channel.

Updates of runs that have ended come first, then the channel's list of live runs, then the message
that has waited longest.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from bot.discord.cards.card_records import RunKey
from bot.discord.cards.pauses import Pauses
from bot.discord.cards.refusals import is_about_channel


@dataclass(frozen=True, slots=True)
class PendingUpdate:
    """A message to send or edit; `message` is its id, or 0 if it has not been sent yet.

    For a channel's list of runs, an import or a thread, `run` is a key that no run has.
    """

    channel: int
    run: RunKey
    message: int = 0
    is_end: bool = False
    about: Literal["run", "list", "import", "thread"] = "run"


Act = Callable[[PendingUpdate], Awaitable[bool]]


class Pace:
    """Keeps a minimum number of seconds between the starts of actions."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    async def turn(self) -> None:
        now = asyncio.get_running_loop().time()
        start = max(now, self._next)
        self._next = start + self._seconds
        await asyncio.sleep(start - now)


@dataclass(slots=True)
class _Queue:
    updates: dict[RunKey, PendingUpdate] = field(default_factory=dict[RunKey, PendingUpdate])
    served_at: dict[RunKey, float] = field(default_factory=dict[RunKey, float])
    worker: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    next_at: float = 0.0

    def take(self) -> PendingUpdate:
        updates = self.updates.values()
        return self.updates.pop(min(updates, key=self._order).run)

    def _order(self, update: PendingUpdate) -> tuple[bool, bool, float]:
        return not update.is_end, update.about != "list", self.served_at.get(update.run, 0.0)


class ChannelQueues:
    """Works through the updates of all channels; no channel waits for another.

    An update that fails is dropped, and its run or its whole channel is paused. The caller must add
    the update again until it succeeds.

    Args:
        what: Name of the activity in the log, such as "editing".
        act: Carries out an update; returns whether it sent a request to Discord.
        distance: Returns how many seconds after a request the channel's next one may start.
        pace: Limits the number of updates per second over all channels.
    """

    def __init__(
        self, what: str, act: Act, *, distance: Callable[[PendingUpdate], float], pace: Pace
    ) -> None:
        self._what, self._act, self._distance, self._pace = what, act, distance, pace
        self._queues: dict[int, _Queue] = {}
        self._pauses = Pauses()
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Work through the queues until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for channel in self._queues:
                    self._wake(channel)
                await asyncio.Event().wait()
            finally:
                self._group = None

    def add(self, update: PendingUpdate) -> None:
        """Add an update, replacing the run's earlier one; drop it if the run is paused."""
        if not self._pauses.left(update.run):
            self._queues.setdefault(update.channel, _Queue()).updates[update.run] = update
            self._wake(update.channel)

    def look_again(self, channels: Iterable[int]) -> None:
        """End the pauses of channels that may accept requests again."""
        for channel in channels:
            queue = self._queues.get(channel)
            if queue is not None:
                for key in (channel, *queue.served_at):
                    self._pauses.cut_short(key)
                queue.changed.set()

    def _wake(self, channel: int) -> None:
        queue = self._queues[channel]
        if self._group is not None and queue.worker is None and queue.updates:
            queue.worker = self._group.create_task(
                self._work(channel, queue), name=f"{self._what} in {channel}"
            )

    async def _work(self, channel: int, queue: _Queue) -> None:
        try:
            while queue.updates:
                await self._wait(channel, queue)
                await self._pace.turn()
                await self._apply(queue, queue.take())
        finally:
            queue.worker = None
            if not (queue.updates or queue.served_at):  # true for a thread whose run has ended
                self._queues.pop(channel, None)

    async def _wait(self, channel: int, queue: _Queue) -> None:
        """Wait for the channel's next turn and for the end of its pause."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(queue.next_at - loop.time())
        while seconds := self._pauses.left(channel):
            queue.changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await queue.changed.wait()

    async def _apply(self, queue: _Queue, update: PendingUpdate) -> None:
        started_at = asyncio.get_running_loop().time()
        where = f"{self._what} in channel {update.channel}"
        is_done, has_asked = False, True
        try:
            has_asked = await self._act(update)
        except Exception as error:  # noqa: BLE001  # one run must not stop the others
            if is_about_channel(error):
                self._pauses.begin(update.channel, where, error)
            else:
                self._pauses.begin(update.run, f"run {update.run[1]}: {self._what}", error)
        else:
            is_done = True
            self._pauses.end(update.run, f"run {update.run[1]}: {self._what}")
            if has_asked:
                self._pauses.end(update.channel, where)
        if has_asked:  # otherwise, the message keeps its place in the queue
            queue.served_at[update.run] = started_at
            queue.next_at = started_at + self._distance(update)
        if update.is_end and is_done:
            queue.served_at.pop(update.run, None)
