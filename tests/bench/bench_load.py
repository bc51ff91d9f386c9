"""How long people wait for the bot while very many runs are live, beside an idle bot.

`python -m tests.bench.bench_load --live 500 --ended 10000`
"""

import argparse
import asyncio
import fcntl
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer
from bot.sandbox.world.components import texts_of
from bot.sandbox.world.world import Change
from tests.bench.machine import machine
from tests.many_runs import Crowd
from training.backends.local.queue import LocalBackend
from training.ports import Call
from training.runs.spec import RunSpec
from training.vocabulary import StageKey

_PER_CHANNEL = 25  # live cards
_HOUR = 60 * 60
_QUEUED_SHARE = 5  # one run of so many waits for its turn
_UPDATED = re.compile(r"Updated <t:(\d+):R>")


@dataclass(frozen=True)
class Options:
    live: int
    ended: int
    asks: int
    watch_seconds: float


class Clock:
    """The time in the sandbox, which begins two hours ago so that the cards are old ones."""

    def __init__(self) -> None:
        self.behind = 2.0 * _HOUR

    def __call__(self) -> float:
        return time.time() - self.behind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live", type=int, default=500)
    parser.add_argument("--ended", type=int, default=10_000)
    parser.add_argument("--asks", type=int, default=100, help="questions of each kind")
    parser.add_argument("--watch-seconds", type=float, default=120.0, help="how long cards are")
    options = Options(**vars(parser.parse_args()))
    _say(f"{machine()}; {options.live} live runs, {options.ended} ended ones")
    asyncio.run(_measure(options))


async def _measure(options: Options) -> None:
    async with _scene(Options(1, 1, options.asks, 0.0)) as idle:
        await idle.wait_for_cards()
        await idle.ask("idle")
    async with _scene(options) as busy:
        await busy.ask("index cold, cards being posted")
        await busy.wait_for_cards()
        busy.clock.behind = 0.0
        await busy.ask("index warm, cards kept")
        await busy.watch_cards()
        await busy.stop()


@asynccontextmanager
async def _scene(options: Options) -> AsyncGenerator["_Scene"]:
    with tempfile.TemporaryDirectory() as folder:
        home, clock = Path(folder) / "home", Clock()
        server = SandboxServer(Path(folder) / "sandbox", clock=clock)
        guild = next(iter(server.world.guilds))
        crowd = Crowd(home, guild, next(iter(server.world.users)))
        await server.start()
        channels = _open_channels(server, guild, -(-options.live // _PER_CHANNEL))
        runs = await asyncio.to_thread(_fill, crowd, options, channels)
        with (home / "local" / "worker.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # no worker starts, so the runs stay as they are
            process = await asyncio.to_thread(_start_bot, server, home)
            training = asyncio.create_task(_train(crowd, runs), name="progress")
            try:
                async with SandboxUser(server.page_url) as user:
                    yield _Scene(options, server, clock, user, runs, process)
            finally:
                training.cancel()
                process.kill()
                await asyncio.to_thread(process.wait)
                await server.stop()


def _open_channels(server: SandboxServer, guild: str, count: int) -> list[str]:
    world, channels = server.world, list[str]()
    first = world.channels_of(guild)[0]
    for number in range(count):
        channels.append(world.ids.next())
        own: dict[str, object] = {"id": channels[-1], "name": f"training-{number}", "pins": {}}
        world.save_channel(first | own)
    return channels


def _fill(crowd: Crowd, options: Options, channels: list[str]) -> list[RunSpec]:
    """Write all runs, with so many live ones to a channel; return the live ones."""
    for number in range(options.ended):
        crowd.add_ended(number, channels[0])
    backend = LocalBackend(crowd.root / "local", lambda: None)
    (crowd.root / "local").mkdir(parents=True, exist_ok=True)

    def submit(spec: RunSpec, key: StageKey) -> str:
        call = Call(guild=spec.guild, run=spec.name, key=key, attempt=1, device="cpu")
        return backend.submit(call)

    runs: list[RunSpec] = []
    for number in range(options.live):
        channel = channels[number // _PER_CHANNEL]
        if number % _QUEUED_SHARE == _QUEUED_SHARE - 1:
            runs.append(crowd.add_queued(number, channel, submit))
        else:
            runs.append(crowd.add_live(number, channel))
    return runs


def _start_bot(server: SandboxServer, home: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "LORABOT_HOME": str(home),
        "LORABOT_DISCORD_TOKEN": server.bot_token,
        "LORABOT_DISCORD_URL": server.base_url,
    }
    command = [sys.executable, "-m", "bot", "serve"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    if process.stdout is None or b"serves" not in process.stdout.readline():
        raise RuntimeError("the bot did not start")
    return process


async def _train(crowd: Crowd, runs: list[RunSpec]) -> None:
    """Let every run that trains report a step each 10 s."""
    training, step = [run for run in runs if run.name.startswith("live")], 190
    while True:
        step += 1
        for run in training:
            crowd.progress(run, step)
            await asyncio.sleep(10 / len(training))


@dataclass
class _Scene:
    options: Options
    server: SandboxServer
    clock: Clock
    user: SandboxUser
    runs: list[RunSpec]
    process: subprocess.Popen[bytes]

    async def ask(self, when: str) -> None:
        """Ask everything in turn, and say how long it took."""
        waits: dict[str, list[float]] = {"completion": [], "/status NAME": [], "/runs": []}
        choose = random.Random(0)
        for _ in range(self.options.asks):
            name = choose.choice(self.runs).name
            for what, found in waits.items():
                started = time.perf_counter()
                is_answered = await self._ask(what, name)
                found.append(time.perf_counter() - started if is_answered else float("inf"))
                await asyncio.sleep(0.1)
        for what, found in waits.items():
            shown = ", ".join(f"{part} {_at(found, share):.0f} ms" for part, share in _PARTS)
            missed = sum(one == float("inf") for one in found)
            _say(f"{when}: {what}: {shown}, {missed} of {len(found)} not answered")

    async def _ask(self, what: str, name: str) -> bool:
        if what == "completion":
            found = await self.user.autocomplete("status", "run-name", name)
            return any(choice.value == name for choice in found)
        options = {"run-name": name} if what.startswith("/status") else {}
        asked = await self.user.command(what.split()[0].removeprefix("/"), options)
        return asked.status == "answered" or await self._is_answered(asked.id)

    async def _is_answered(self, interaction: str) -> bool:
        """Wait for the answer in the sandbox itself, whose page would read all messages for it."""
        found, changed = self.server.interactions.get(interaction), asyncio.Event()

        def note(change: Change) -> None:
            if change.kind == "interaction" and change.record["id"] == interaction:
                changed.set()

        self.server.changes.listeners.append(note)
        while found.status not in ("answered", "failed"):
            await changed.wait()
            changed.clear()
        self.server.changes.listeners.remove(note)
        return found.status == "answered"

    async def wait_for_cards(self) -> None:
        started = time.monotonic()
        while len(self._updated()) < len(self.runs):  # noqa: ASYNC110  # the bot posts them
            await asyncio.sleep(1.0)
        _say(f"all {len(self.runs)} cards were posted after {time.monotonic() - started:.0f} s")

    async def watch_cards(self) -> None:
        """Say how old the cards get, once each has had its turn."""
        await asyncio.sleep(90.0)
        ages: list[float] = []
        ends_at = time.monotonic() + self.options.watch_seconds
        while time.monotonic() < ends_at:
            await asyncio.sleep(5.0)
            ages += [time.time() - at for at in self._updated().values()]
        p50, p99 = _at(ages, 0.5) / 1000, _at(ages, 0.99) / 1000
        _say(f"age of the cards: median {p50:.0f} s, p99 {p99:.0f} s, most {max(ages):.0f} s")

    def _updated(self) -> dict[str, float]:
        """Return when each live card says that it was updated, by its message."""
        found: dict[str, float] = {}
        for channel in self.server.world.channels_of(self.runs[0].guild):
            for message in self.server.messages.listed(channel["id"]):
                texts = "\n".join(texts_of(message["components"]))
                if stamp := _UPDATED.search(texts):
                    found[message["id"]] = float(stamp[1])
        return found

    async def stop(self) -> None:
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.process.wait)
        _say(f"ended {time.monotonic() - started:.1f} s after SIGTERM")


_PARTS = (("median", 0.5), ("p99", 0.99), ("most", 1.0))


def _at(values: list[float], share: float) -> float:
    """Return the value below which this share of them lies, in milliseconds."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
