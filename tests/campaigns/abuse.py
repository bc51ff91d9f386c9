"""Mixed abuse of a bot with hundreds of live runs: outages, limits, slow readers, kills.

`python -m tests.campaigns.abuse --minutes 60 --seed 1`
"""

import argparse
import asyncio
import fcntl
import random
import re
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bot.messages.card import Colour
from bot.sandbox.client import Message, SandboxUser
from bot.sandbox.server import SandboxServer
from tests.campaigns.books import Books, Row, table
from tests.campaigns.operated import OperatedBot
from tests.campaigns.people import Asker, Tally
from tests.campaigns.troubles import Troubles
from tests.campaigns.usage import Usage
from tests.many_runs import Crowd
from tests.media import guide_files, write_zip
from training.runs.spec import RunSpec

_PER_CHANNEL = 25  # live cards
_AGE_SECONDS = 2 * 60 * 60  # of the cards when people begin to ask
_END_SECONDS = 10.0  # on average between two ends
_DONE_SECONDS = 300.0
_TOLD_SECONDS = 600.0
_MIB = 1 << 20
_MODEL = "wan21-t2v-1-3b"
_PEOPLE = ("Ada", "Ben", "Cleo", "Ada")
Say = Callable[[str], None]


class Clock:
    """The time at Discord: behind while the first cards are posted, which are then old."""

    def __init__(self) -> None:
        self.behind = float(_AGE_SECONDS)

    def __call__(self) -> float:
        return time.time() - self.behind


@dataclass
class Abuse:
    """One bot, the runs that it shows, and the people who ask."""

    server: SandboxServer
    bot: OperatedBot
    clock: Clock
    crowd: Crowd
    live: list[RunSpec]
    archive: Path
    books: Books
    tally: Tally = field(default_factory=Tally)
    usage: Usage = field(default_factory=Usage)
    troubles: Troubles | None = None
    numbers: int = 0

    async def play(self, seed: int, seconds: float, say: Say) -> None:
        """Abuse the bot for so long, then wait until everybody has been told."""
        self.numbers = len(self.live)
        self.books.runs += [run.name for run in self.live]
        if not await self._until(self.books.has_all_cards):
            return
        self.clock.behind = 0.0
        async with AsyncExitStack() as stack:
            users = [
                await stack.enter_async_context(SandboxUser(self.server.page_url, user=name))
                for name in _PEOPLE
            ]
            choose = random.Random(seed)
            self.troubles = Troubles(self.server, self.bot, choose, await self._zip_link(users[0]))
            askers = [Asker(user, self.tally, self.troubles.was_calm) for user in users]
            acts = [self.troubles.work(), self._train(), self._end_runs(choose), self._watch(say)]
            tasks = [asyncio.create_task(act) for act in acts]
            ends_at = time.monotonic() + seconds
            try:
                async with asyncio.TaskGroup() as group:
                    for number, asker in enumerate(askers):
                        choices = random.Random(f"{seed} {number}")
                        group.create_task(self._keep_asking(asker, choices, ends_at))
            finally:
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
            self.tally.wrong += [repr(one) for one in results if isinstance(one, Exception)]
        await self._until(lambda: self.books.has_all_cards() and self.books.are_all_told())
        await asyncio.sleep(5.0)  # for what would come twice

    async def _until(self, is_so: Callable[[], bool]) -> bool:
        """Wait for something; return whether it came within a while."""
        gives_up_at = time.monotonic() + _TOLD_SECONDS
        while not is_so():
            if time.monotonic() > gives_up_at:
                return False
            await asyncio.sleep(1.0)
        return True

    async def _zip_link(self, user: SandboxUser) -> str:
        """Return the link to a run's zip that no receiver's buffers hold."""
        run = self.crowd.add_ended(1, self.live[0].channel or "")
        self.crowd.add_checkpoints(run, 64 * _MIB, epochs=2)
        asked = await user.command("download", {"run-name": run.name})
        return _zip_links(await user.reply(asked))[0]

    async def _keep_asking(self, asker: Asker, choose: random.Random, ends_at: float) -> None:
        """Ask for everything in turn; store a dataset and train on it now and then."""
        while time.monotonic() < ends_at:
            run = choose.choice(self.live).name
            match choose.randrange(9):
                case 0 | 1:
                    await asker.ask("runs")
                case 2 | 3:
                    await asker.ask("status", run_name=run)
                case 4 | 5:
                    await asker.complete("status", "run-name", run[:6], must_find=True)
                case 6:
                    await asker.ask("dataset list")
                case 7:
                    await self._download(asker)
                case _:
                    await self._store_and_train(asker, f"set-{choose.randrange(10**9)}")
            await asyncio.sleep(choose.uniform(0.1, 1.0))

    async def _store_and_train(self, asker: Asker, name: str) -> None:
        try:
            async with asyncio.timeout(_DONE_SECONDS):
                given = {"name": name, "zip": self.archive}
                await asker.until_done("dataset add", lambda m: f"{name}@1" in m.text, **given)
        except TimeoutError:
            self.tally.wrong.append(f"{name} was never stored")
            return
        self.books.datasets.append(name)
        answer = await asker.ask("train", model=_MODEL, dataset=name, epochs="2")
        if answer is None or _is_refused(answer):
            self.books.perhaps_trained.append(name)
            return
        self.books.trained.append(name)
        for spec in await asyncio.to_thread(self.books.runs_of, name):
            await asyncio.to_thread(self.crowd.begin, spec)
            self.books.runs.append(spec.name)
            self.live.append(spec)

    async def _download(self, asker: Asker) -> None:
        """Fetch a run's zip to its end."""
        began = time.monotonic()
        answer = await asker.ask("download", run_name=self.books.downloadable)
        if answer is None:
            return
        try:
            async with httpx.AsyncClient(timeout=60.0) as http:
                found = await http.get(_zip_links(answer)[0])
            is_whole = found.content.startswith(b"PK") and b"PK\x05\x06" in found.content[-100:]
        except (httpx.HTTPError, IndexError) as error:
            is_whole, found = False, error
        self.tally.downloads += 1
        if not is_whole and asker.was_up(began):
            self.tally.wrong.append(f"a download was cut off: {found!r}")

    async def _train(self) -> None:
        step = 190
        while True:
            step += 1
            for run in [run for run in self.live if run.name.startswith("live")]:
                await asyncio.to_thread(self.crowd.progress, run, step)
                await asyncio.sleep(10 / max(1, len(self.live)))

    async def _end_runs(self, choose: random.Random) -> None:
        """End a run now and then; another one takes its place unless people have begun more."""
        wanted = len(self.live)
        while True:
            await asyncio.sleep(choose.expovariate(1 / _END_SECONDS))
            run = self.live.pop(choose.randrange(len(self.live)))
            await asyncio.to_thread(self.crowd.end, run)
            self.books.ended.append(run.name)
            if len(self.live) < wanted:
                self.numbers += 1
                new = await asyncio.to_thread(self.crowd.add_live, self.numbers, run.channel or "")
                self.live.append(new)
                self.books.runs.append(new.name)

    async def _watch(self, say: Say) -> None:
        """Note what the bot takes; say something every minute."""
        began = time.monotonic()
        while True:
            for _ in range(6):
                await asyncio.sleep(10.0)
                await asyncio.to_thread(self.usage.note, self.bot)
            minutes = (time.monotonic() - began) / 60
            ends = len(self.books.ended)
            say(f"{minutes:4.0f} min: {self.tally.line()}, {ends} ends; {self.usage.newest()}")

    def wrong(self) -> list[str]:
        """Return what must not have happened."""
        rows = [text for row in self.rows() for text in row.wrong()]
        found = [*self.tally.wrong, *rows, *self.usage.wrong()]
        return found + self.bot.tracebacks() + self.server.rest.mistakes

    def rows(self) -> list[Row]:
        return [self.books.commands(self.tally), *self.books.rows()]

    def report(self) -> list[str]:
        """Return the table and the figures."""
        lines = [*table(self.rows()), ""]
        if self.troubles is not None:
            lines += [f"{count:5} {what}" for what, count in sorted(self.troubles.made.items())]
        return [*lines, "", *self.tally.waiting(), *self.usage.growth()]


@asynccontextmanager
async def scene(folder: Path, live: int) -> AsyncGenerator[Abuse]:
    """Start a bot that has so many live runs, which train elsewhere."""
    home, clock = folder / "home", Clock()
    server = SandboxServer(folder / "sandbox", clock=clock)
    await server.start()
    guild = str(next(iter(server.world.guilds)))
    crowd = Crowd(home, guild, str(next(iter(server.world.users))))
    channels = _open_channels(server, guild, -(-live // _PER_CHANNEL))
    runs = await asyncio.to_thread(
        lambda: [crowd.add_live(n, channels[n // _PER_CHANNEL]) for n in range(live)]
    )
    downloadable = await asyncio.to_thread(crowd.add_ended, 2, channels[0])
    await asyncio.to_thread(crowd.add_checkpoints, downloadable, _MIB, 2)
    archive = folder / "small.zip"
    await asyncio.to_thread(write_zip, archive, guide_files(images=2, clips=0))
    bot = OperatedBot(server, home, folder / "bot.log", {"LORABOT_EDIT_SECONDS": "5"})
    local = home / "local"
    await asyncio.to_thread(local.mkdir, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        lock = stack.enter_context(await asyncio.to_thread((local / "worker.lock").open, "ab"))
        fcntl.flock(lock, fcntl.LOCK_EX)  # no worker starts, so the runs stay as they are
        stack.push_async_callback(server.stop)
        stack.push_async_callback(bot.kill_all)
        await stack.enter_async_context(bot.kept_up())
        books = Books(server, home, guild, downloadable.name)
        yield Abuse(server, bot, clock, crowd, runs, archive, books)


def _open_channels(server: SandboxServer, guild: str, count: int) -> list[str]:
    world, channels = server.world, list[str]()
    first = world.channels_of(guild)[0]
    for number in range(count):
        channels.append(str(world.ids.next()))
        world.save_channel(first | {"id": channels[-1], "name": f"training-{number}", "pins": {}})
    return channels


def _zip_links(message: Message) -> list[str]:
    return re.findall(r"http://[^)\s]+/z/[^)\s]+", message.text)


def _is_refused(message: Message) -> bool:
    return bool(message.embeds) and message.embeds[0]["color"] == Colour.BAD


def main() -> int:
    """Abuse the bot; return 0 if no command, end or ping was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--live", type=int, default=300)
    asked = parser.parse_args()

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    async def play() -> list[str]:
        with tempfile.TemporaryDirectory(prefix="lorabot-abuse-") as folder:
            async with scene(Path(folder), asked.live) as abuse:
                await abuse.play(asked.seed, 60 * asked.minutes, say)
                for line in abuse.report():
                    say(line)
                return abuse.wrong()

    wrong = asyncio.run(play())
    say("\n".join(wrong) or "no command, end or ping was lost or doubled")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
