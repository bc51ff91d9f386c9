"""Kills processes of one bot at random moments, and some at moments that were chosen with care."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from tests.campaigns.operated import OperatedBot
from training.backends.local.queue import LocalBackend, QueuedCall

# A stage is given up after four attempts in a row without progress: that is its contract.
_MOST_OF_A_STAGE = 3
_LOOK_SECONDS = 0.002
_AIM_SECONDS = 10.0


@dataclass
class Killer:
    """Kills processes of one bot's home, until `left` is 0.

    Attributes:
        told: What was killed, in its order.
    """

    bot: OperatedBot
    choose: random.Random
    left: int
    pause_seconds: float = 1.5
    told: list[str] = field(default_factory=list[str])
    _of_stages: Counter[str] = field(default_factory=Counter[str])

    async def work(self) -> None:
        """Kill something every now and then."""
        queue = LocalBackend(self.bot.home / "local", lambda: None)
        while self.left > 0:
            await asyncio.sleep(self.choose.expovariate(1 / self.pause_seconds))
            kind = self.choose.choice(_KINDS)
            if (what := await _ACTS[kind](self, queue)) is not None:
                self.left -= 1
                self.told.append(f"{kind}: {what}" if what else kind)

    async def kill_bot(self, _queue: LocalBackend) -> str | None:
        if not self.bot.is_up():
            return None
        await self.bot.kill()
        return ""

    async def kill_worker(self, _queue: LocalBackend) -> str | None:
        return "" if _kill(await asyncio.to_thread(self._worker)) else None

    async def kill_stage(self, queue: LocalBackend) -> str | None:
        """Kill the process of a stage; its trainer ends with it."""
        found = [one for one in queue.running() if self._may_kill(one)]
        if not found:
            return None
        return self._kill_call(self.choose.choice(found))

    async def kill_program(self, queue: LocalBackend) -> str | None:
        """Kill what a stage has started: a trainer, or a decoder of the repair."""
        found = [
            (call, child)
            for call in queue.running()
            if self._may_kill(call) and call.pid
            for child in await asyncio.to_thread(_children, call.pid)
        ]
        if not found:
            return None
        call, child = self.choose.choice(found)
        if not _kill(child.pid):
            return None
        self._of_stages[_name(call)] += 1
        return str(call.call.key)

    async def kill_everything(self, queue: LocalBackend) -> str | None:
        running = queue.running()
        if not all(map(self._may_kill, running)):
            return None
        await self.bot.kill_all()
        self._of_stages.update(map(_name, running))
        return f"with {len(running)} stages"

    async def kill_in_merge(self, queue: LocalBackend) -> str | None:
        """Kill a merge while it writes the merged base."""
        merged = self.bot.home / "merged"
        return await self._aim("merge", queue, lambda: bool(list(merged.glob("*/.*.partial"))))

    async def kill_in_publish(self, queue: LocalBackend) -> str | None:
        return await self._aim("publish", queue, lambda: True)

    async def kill_worker_at_start(self, _queue: LocalBackend) -> str | None:
        """Kill the worker just when it starts a stage."""
        worker = await asyncio.to_thread(self._worker)
        local = self.bot.home / "local"
        known = set(local.glob("call-*.lock"))
        if not worker or not await _until(lambda: bool(set(local.glob("call-*.lock")) - known)):
            return None
        await asyncio.sleep(self.choose.uniform(0, 0.02))
        return "" if _kill(worker) else None

    async def _aim(
        self, stage: str, queue: LocalBackend, is_time: Callable[[], bool]
    ) -> str | None:
        """Kill a stage's process when it is time, if it runs within a while."""

        def running() -> QueuedCall | None:
            calls = (one for one in queue.running() if one.call.key.stage == stage and one.pid)
            return next(filter(self._may_kill, calls), None)

        found = list[QueuedCall]()

        def look() -> bool:
            if is_time() and (call := running()) is not None:
                found.append(call)
            return bool(found)

        if not await _until(look):
            return None
        if stage == "publish":
            await asyncio.sleep(self.choose.uniform(0, 1.0))
        return self._kill_call(found[0])

    def _may_kill(self, call: QueuedCall) -> bool:
        return self._of_stages[_name(call)] < _MOST_OF_A_STAGE

    def _kill_call(self, call: QueuedCall) -> str | None:
        if not _kill(call.pid):
            return None
        self._of_stages[_name(call)] += 1
        return str(call.call.key)

    def _worker(self) -> int | None:
        return next((p.pid for p in self.bot.processes("bot.hosting.worker", "serve")), None)


_ACTS: Mapping[str, Callable[[Killer, LocalBackend], Awaitable[str | None]]] = {
    "bot": Killer.kill_bot,
    "worker": Killer.kill_worker,
    "stage": Killer.kill_stage,
    "program of a stage": Killer.kill_program,
    "everything": Killer.kill_everything,
    "inside the merge": Killer.kill_in_merge,
    "inside the publish": Killer.kill_in_publish,
    "worker, starting a stage": Killer.kill_worker_at_start,
}
_KINDS = (*_ACTS, "bot", "stage", "program of a stage")


async def _until(is_reached: Callable[[], bool]) -> bool:
    """Wait for a moment; return whether it came within a while."""
    gives_up_at = time.monotonic() + _AIM_SECONDS
    while not is_reached():
        if time.monotonic() > gives_up_at:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True


def _kill(pid: int | None) -> bool:
    """Kill a process; return whether it was there."""
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _children(pid: int | None) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _name(call: QueuedCall) -> str:
    return f"{call.call.run}/{call.call.key}"
