"""How long commands wait when a copy of the bot is redeployed or killed, with real processes.

`python -m tests.bench.bench_handover --times 3`
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path

from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer
from storage.local.claims import FileClaims
from tests.bench.hardware import hardware
from tests.wire.bot.processes import bot_process

# An active copy acknowledges a command in less time than this, a standby in more.
_ACTIVE_SECONDS = 0.5

Process = subprocess.Popen[bytes]
Start = Callable[[], Coroutine[None, None, Process]]
Scene = Callable[[Start, SandboxUser], Coroutine[None, None, dict[str, float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    sys.stdout.write(hardware())
    sys.stdout.write(f"a claim as a file: {_claim_seconds() * 1000:.2f} ms (median of 2000)\n")
    for scene in (_redeployed, _killed_with_standby, _killed_alone):
        found = [asyncio.run(_play(scene)) for _ in range(times)]
        sys.stdout.write(f"{(scene.__doc__ or '').strip()}\n")
        for name in found[0]:
            values = ", ".join(f"{one[name]:.2f}" for one in found)
            sys.stdout.write(f"    {name}: {values}\n")


def _claim_seconds() -> float:
    with tempfile.TemporaryDirectory() as folder:
        claims, taken = FileClaims(Path(folder)), list[float]()
        for number in range(2000):
            started = time.perf_counter()
            claims.claim(str(number))
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


async def _play(scene: Scene) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as scratch:
        server = SandboxServer(Path(scratch) / "sandbox")
        await server.start()
        try:
            async with AsyncExitStack() as stack, SandboxUser(server.page_url) as user:

                async def start() -> Process:
                    process = bot_process(server, Path(scratch) / "home")
                    return await stack.enter_async_context(process)

                return await scene(start, user)
        finally:
            await server.stop()


async def _redeployed(start: Start, user: SandboxUser) -> dict[str, float]:
    """A second copy starts, the first gets SIGTERM; a command every 50 ms meanwhile:"""
    first, _second = await start(), await start()
    asked: list[asyncio.Task[float]] = []
    for number in range(60):
        if number == 20:
            first.send_signal(signal.SIGTERM)
        asked.append(asyncio.create_task(_acknowledged_after(user)))
        await asyncio.sleep(0.05)
    waited = await asyncio.gather(*asked)
    answered = [seconds for seconds in waited if seconds != float("inf")]
    return {
        "commands not answered": len(waited) - len(answered),
        "median wait of all, s": statistics.median(answered),
        "longest wait, s": max(answered),
        "commands that waited for a standby": sum(one > _ACTIVE_SECONDS for one in answered),
    }


async def _killed_with_standby(start: Start, user: SandboxUser) -> dict[str, float]:
    """The active copy gets SIGKILL beside a standby:"""
    first, _second = await start(), await start()
    os.kill(first.pid, signal.SIGKILL)
    return await _watch(user)


async def _killed_alone(start: Start, user: SandboxUser) -> dict[str, float]:
    """The only copy gets SIGKILL and another one is started at once:"""
    first = await start()
    os.kill(first.pid, signal.SIGKILL)
    starting = asyncio.create_task(start())
    found = await _watch(user)
    await starting
    return found


async def _watch(user: SandboxUser) -> dict[str, float]:
    """Send a command every 100 ms until an active copy answers."""
    started = time.monotonic()
    asked: list[tuple[float, asyncio.Task[float]]] = []
    while not any(task.done() and task.result() < _ACTIVE_SECONDS for _, task in asked):
        task = asyncio.create_task(_acknowledged_after(user))
        asked.append((time.monotonic() - started, task))
        await asyncio.sleep(0.1)
    took = time.monotonic() - started
    waited = [(sent_at, await task) for sent_at, task in asked]
    failed = [sent_at for sent_at, seconds in waited if seconds == float("inf")]
    return {
        "commands failed": len(failed),
        "of which the last was sent after, s": max(failed, default=0.0),
        "longest wait of the answered, s": max(s for _, s in waited if s != float("inf")),
        "a copy is active, so cards go on, after, s": took,
    }


async def _acknowledged_after(user: SandboxUser) -> float:
    started = time.monotonic()
    interaction = await user.command("models")
    return float("inf") if interaction.status == "failed" else time.monotonic() - started


if __name__ == "__main__":
    main()
