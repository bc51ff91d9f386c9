"""Kills of every process at random moments, while people upload, train and download.

`python -m tests.campaigns.kills --seed 1 --kills 200` first lets them do it undisturbed, then again
and again with kills, and compares what they have, all checkpoints byte for byte.
"""

import argparse
import asyncio
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Message, SandboxUser
from bot.sandbox.server import SandboxServer
from bot.settings import Settings
from storage.local.leftovers import Leftovers
from tests.campaigns.killer import Killer
from tests.campaigns.operated import OperatedBot
from tests.campaigns.people import Asker, Tally
from tests.campaigns.upload import Upload
from tests.media import guide_files, write_zip
from training.files.hashing import file_sha256
from training.pipeline.run_view import metrics
from training.runs.state import RunStatus

RUNS = {"single": "wan21-t2v-1-3b", "pair": "wan22-t2v-lightning"}
KILLS_OF_A_ROUND = 25
_ROUND_SECONDS = 1800.0
# Trainings save a state after every step, so that a kill repeats one step at most.
_SLOW = {"LORABOT_STEP_DELAY": "0.2", "LORABOT_STATE_SECONDS": "0.01"}
# What differs between homes: records of attempts, locks, and what the bot knows about its chats.
_RECORDS = ("events", "logs", "metrics", "progress", "leases", "claims", "local", "bot", "requests")

# Ids of guilds, messages and uploads.
_VARYING = re.compile(r"\d{15,}|(?<=uploads/)\w+")


@dataclass(frozen=True)
class Result:
    """What people have after a round.

    Attributes:
        checkpoints: The hash of each checkpoint.
        datasets: The content id of each dataset.
        files: The names of all files in the home but records.
    """

    checkpoints: Mapping[str, str]
    datasets: Mapping[str, str]
    files: frozenset[str]


@dataclass
class Round:
    """One bot, and what people do with it."""

    folder: Path
    server: SandboxServer
    bot: OperatedBot
    tally: Tally
    archive: Path

    async def play(self) -> None:
        """Upload, train, look and download."""
        async with (
            SandboxUser(self.server.page_url) as user,
            SandboxUser(self.server.page_url) as other,
        ):
            ada, ben = (Asker(one, self.tally, self.bot.was_up) for one in (user, other))
            looking = asyncio.create_task(self._keep_looking(ben), name="look")
            async with asyncio.timeout(_ROUND_SECONDS):
                await asyncio.gather(self._train(ada), self._upload(ada))
            looking.cancel()
            for run in RUNS:
                await ada.until_done("download", lambda m: "Epoch" in m.text, run_name=run)

    async def _train(self, ada: Asker) -> None:
        added = {"name": "annika", "zip": self.archive}
        await ada.until_done("dataset add", lambda m: "annika@1" in m.text, **added)
        for run, model in RUNS.items():
            asked = {"model": model, "dataset": "annika", "name": run}
            await ada.until_done("train", _is_of(run), **asked, epochs="3", save_every="1")
        for run in RUNS:
            await ada.user.wait_for(_is_ping(run), timeout=_ROUND_SECONDS)

    async def _upload(self, ada: Asker) -> None:
        """Send a zip through a link, in pieces, for as long as it takes."""
        given = await ada.until_done("dataset upload", lambda m: bool(m.buttons), name="dora")
        (button,) = (one for one in given.buttons.values() if "url" in one)
        data = await asyncio.to_thread(self.archive.read_bytes)
        async with httpx.AsyncClient(timeout=30.0) as http:
            upload = Upload(http, str(button["url"]), data)
            is_done = False
            while not is_done:
                await asyncio.sleep(1.0)
                with suppress(httpx.HTTPError):
                    is_done = await upload.go_on()

    async def _keep_looking(self, ben: Asker) -> None:
        while True:
            await ben.ask("runs")
            await ben.complete("status", "run-name", "p")
            await asyncio.sleep(0.5)

    def result(self) -> Result:
        """Return what is there once the round is over and all its processes have ended."""
        local = LocalInstallation(Settings(home=self.bot.home))
        (guild,) = (one for one in local.guilds() if local.datasets.names(one))
        for run in RUNS:
            view = local.runs.view(guild, run)
            assert view.run.status is RunStatus.SUCCEEDED, view.run
            for expert in view.spec.experts:
                steps = [metric.step for metric in metrics(local.runtime, view.spec, expert.name)]
                assert len(steps) == len(set(steps)), f"{run}: steps were counted twice"
                assert steps[-1] == view.expert(expert.name).total_steps
        # As the daily clean-up does: a killed worker may not have seen the end of a run.
        Leftovers(local.home).sweep(datetime.fromtimestamp(0, UTC))
        checkpoints = local.home.glob("guilds/*/runs/*/checkpoints/*/*.safetensors")
        versions = (local.datasets.find(guild, name) for name in local.datasets.names(guild))
        return Result(
            {path.name: file_sha256(path) for path in checkpoints},
            {str(version.ref): version.version for version in versions},
            frozenset(_names(local.home)),
        )

    def pings(self) -> Counter[str]:
        """Return how often the end of each run was told."""
        found = Counter[str]()
        for channel in self.server.world.channels.values():
            for message in self.server.messages.listed(channel["id"]):
                told = [
                    run for run in RUNS if message["mentions"] and f" {run} " in message["content"]
                ]
                found.update(told)
        return found


@dataclass
class Outcome:
    """What came of all rounds."""

    kills: Counter[str] = field(default_factory=Counter[str])
    tally: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])

    def add(self, told: list[str], played: Round, differences: list[str]) -> None:
        self.kills.update(told)
        tally = played.tally
        self.tally["answered"] += tally.answered
        self.tally["told that they were cut off"] += tally.interrupted
        self.tally["refused"] += tally.refused
        self.tally["not acknowledged while the bot was down"] += tally.while_down
        self.tally["ends told"] += sum(played.pings().values())
        self.wrong += [*tally.wrong, *differences]
        if tally.unacknowledged > tally.while_down:
            count = tally.unacknowledged - tally.while_down
            self.wrong.append(f"{count} commands were not acknowledged though the bot was up")
        if (pings := played.pings()) != Counter(RUNS.keys()):
            self.wrong.append(f"ends were told so often: {dict(pings)}")
        self.wrong += played.bot.tracebacks()


@asynccontextmanager
async def _round(folder: Path, archive: Path) -> AsyncGenerator[Round]:
    """Start a bot on a new home, and keep it up while the body runs."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    server = SandboxServer(folder / "sandbox")
    await server.start()
    bot = OperatedBot(server, folder / "home", folder / "bot.log", _SLOW)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        stack.push_async_callback(bot.kill_all)
        stack.push_async_callback(bot.stop)
        await stack.enter_async_context(bot.kept_up())
        yield Round(folder, server, bot, Tally(), archive)


async def play(seed: int, kills: int, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Play rounds until there were so many kills; say what comes of each."""
    files = guide_files(images=3, clips=1, frames=49)
    archive = await asyncio.to_thread(write_zip, folder / "annika.zip", files)
    async with _round(folder / "calm", archive) as calm:
        await calm.play()
    expected = await asyncio.to_thread(calm.result)
    say(f"undisturbed: {len(expected.checkpoints)} checkpoints, {calm.tally.answered} answers")
    outcome, choose, number = Outcome(), random.Random(seed), 0
    while sum(outcome.kills.values()) < kills:
        number += 1
        left = min(KILLS_OF_A_ROUND, kills - sum(outcome.kills.values()))
        async with _round(folder / f"round-{number}", archive) as disturbed:
            killer = Killer(disturbed.bot, choose, left)
            killing = asyncio.create_task(killer.work(), name="kills")
            await disturbed.play()
            killing.cancel()
            await asyncio.wait({killing})
        found = await asyncio.to_thread(disturbed.result)
        outcome.add(killer.told, disturbed, _differences(expected, found))
        say(f"round {number}: {len(killer.told)} kills, {disturbed.bot.starts} starts of the bot")
        for line in outcome.wrong:
            say(f"    {line}")
    return outcome


def _differences(expected: Result, found: Result) -> list[str]:
    wrong = list[str]()
    if found.checkpoints != expected.checkpoints:
        wrong.append(f"other checkpoints: {found.checkpoints} instead of {expected.checkpoints}")
    if found.datasets != expected.datasets:
        wrong.append(f"other datasets: {found.datasets} instead of {expected.datasets}")
    if left := sorted(found.files - expected.files):
        wrong.append(f"files are left: {left}")
    if missing := sorted(expected.files - found.files):
        wrong.append(f"files are missing: {missing}")
    return wrong


def _names(home: Path) -> Iterator[str]:
    for path in home.rglob("*"):
        name = path.relative_to(home)
        is_file = path.is_symlink() or path.is_file()
        if is_file and not set(_RECORDS) & set(name.parts):
            yield _VARYING.sub("#", name.as_posix())


def _is_of(run: str) -> Callable[[Message], bool]:
    return lambda message: message.text.startswith(run) or "already a run" in message.text


def _is_ping(run: str) -> Callable[[Message], bool]:
    return lambda message: bool(message.mentions) and f" {run} " in message.content


def main() -> int:
    """Play the campaign; return 0 if nothing was lost, doubled or left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=200)
    asked = parser.parse_args()

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory(prefix="lorabot-kills-") as folder:
        outcome = asyncio.run(play(asked.seed, asked.kills, Path(folder), say))
    for table in (outcome.kills, outcome.tally):
        for what, count in sorted(table.items()):
            say(f"{count:6} {what}")
    say(f"{sum(outcome.kills.values())} kills; " + ("; ".join(outcome.wrong) or "nothing was lost"))
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
