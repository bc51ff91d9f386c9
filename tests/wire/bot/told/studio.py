"""A server with runs that a test stores, ends and looks at; nothing trains."""

import asyncio
import re
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.discord.copies.leader import Timing
from bot.hosting.bot import RunningBot, running_bot
from bot.hosting.local import LocalInstallation
from bot.sandbox.server import SandboxServer
from bot.sandbox.world.components import MEDIA_GALLERY, texts_of, walk
from bot.settings import Settings
from tests import specs
from tests.advancing import AdvancingLoop
from tests.wire.bot.chat import ROLE
from training.pipeline.run_view import Metric, Progress
from training.runs import events as ev
from training.runs.event_log import ADVANCE, REQUEST
from training.runs.spec import RunSpec
from training.runs.training_events import CheckpointSaved, EpochEnded
from training.vocabulary import StageKey

HOUR = 60 * 60
TRAIN = StageKey("train", "main")
# So far apart that a clock which jumps does not make the lease look lost.
_TIMING = Timing(poll=0.1, pause=0.1, rest=1.0)
Json = dict[str, Any]


class Clock:
    """The time of the loop, for all who ask what time it is; a test can set it ahead."""

    def __init__(self, loop: AdvancingLoop) -> None:
        self._loop = loop
        self._began = time.time() - loop.time()

    def __call__(self) -> float:
        return self._began + self._loop.time()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self(), UTC)

    def set_ahead(self, seconds: float) -> None:
        """Skip a stretch of time in which nothing happens."""
        self._began += seconds

    async def advance(self, seconds: float) -> None:
        await self._loop.advance(seconds)


def installation(home: Path, clock: Clock) -> LocalInstallation:
    """Return an installation without a worker, whose runs stay as a test leaves them."""
    found = LocalInstallation(Settings(home=home, team_role=ROLE))
    found.runtime = replace(found.runtime, clock=clock.now)
    found.ensure_worker = lambda: None
    return found


@dataclass
class Studio:
    """The bot's server, its runs, and what is seen of them."""

    server: SandboxServer
    local: LocalInstallation
    clock: Clock
    bot: RunningBot | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start_bot(self) -> RunningBot:
        running = running_bot(
            self.local,
            token=self.server.bot_token,
            engine="rehearsal",
            edit_seconds=5.0,
            timing=_TIMING,
        )
        entering = asyncio.ensure_future(self._stack.enter_async_context(running))
        while not entering.done():
            await self.clock.advance(1.0)
        self.bot = await entering
        return self.bot

    async def stop_bot(self) -> None:
        leaving = asyncio.ensure_future(self._stack.aclose())
        while not leaving.done():
            await self.clock.advance(1.0)
        await leaving

    @property
    def guild(self) -> str:
        return next(iter(self.server.world.guilds))

    @property
    def channel(self) -> str:
        return str(self.server.world.channels_of(self.guild)[0]["id"])

    def owner(self, name: str = "Ada") -> str:
        users = self.server.world.users.values()
        return next(str(one["id"]) for one in users if one["global_name"] == name)

    def open_channel(self, name: str) -> str:
        """Add a text channel to the server."""
        world = self.server.world
        channel = world.channel(self.channel) | {"id": world.ids.next(), "name": name}
        world.save_channel(channel | {"pins": {}, "permission_overwrites": []})
        return str(channel["id"])

    def open_thread(self, name: str = "clips") -> str:
        """Let a person open a thread in the channel."""
        world, body = self.server.world, {"name": name}
        parent = world.channel(self.channel)
        thread = self.server.threads.open(parent, world.ids.next(), 11, body, self.owner())
        return str(thread["id"])

    def store_run(self, name: str, channel: str | None = None, owner: str = "Ada") -> RunSpec:
        """Store a run that trains."""
        spec = self.store_waiting_run(name, channel, owner)
        self.begin_run(spec)
        return spec

    def begin_run(self, spec: RunSpec) -> None:
        """Let a waiting run train."""
        started = ev.StageEvent(at=self.clock.now(), key=TRAIN, attempt=1, body=ev.StageStarted())
        self.local.runtime.log(spec.guild, spec.name).append_alone(str(TRAIN), started)

    def store_waiting_run(
        self, name: str, channel: str | None = None, owner: str = "Ada"
    ) -> RunSpec:
        """Store a run of which nothing has started."""
        asked = {"name": name, "guild": self.guild, "channel": channel or self.channel}
        asked |= {"requested_by": self.owner(owner), "created_at": self.clock.now()}
        spec = specs.spec("wan21-t2v-1-3b").model_copy(update=asked)
        store, keys = self.local.runtime.store, spec.keys
        store.create(keys.open, b"")
        store.create(keys.unannounced, b"")
        store.write(keys.report, specs.report().model_dump_json().encode())
        store.write(keys.spec, spec.model_dump_json().encode())
        return spec

    def progress(self, spec: RunSpec, step: int) -> None:
        value = Progress(step=step, total_steps=500, attempt=1)
        self.local.runtime.live.publish(spec.keys.progress(TRAIN), value.model_dump_json().encode())

    def take_steps(self, spec: RunSpec, steps: int) -> None:
        """Let a run record the loss of its first steps."""
        metrics = [Metric(step=n, loss=1 / n, learning_rate=1e-4) for n in range(1, steps + 1)]
        lines = "".join(f"{one.model_dump_json()}\n" for one in metrics)
        self.local.runtime.store.write(spec.keys.metrics(TRAIN, 1), lines.encode())

    def save(self, spec: RunSpec, epoch: int) -> None:
        """Let a run save the checkpoint of an epoch; no file is stored."""
        at, file = self.clock.now(), f"checkpoints/main/{spec.name}-{epoch:06d}.safetensors"
        step = epoch * spec.steps_per_epoch
        bodies = (
            EpochEnded(epoch=epoch, step=step, loss=0.5 / epoch),
            CheckpointSaved(path=file, epoch=epoch, step=step, is_final=False, size_bytes=9),
        )
        log = self.local.runtime.log(spec.guild, spec.name)
        for body in bodies:
            log.append_alone(str(TRAIN), ev.StageEvent(at=at, key=TRAIN, attempt=1, body=body))

    def end_run(self, spec: RunSpec) -> None:
        log = self.local.runtime.log(spec.guild, spec.name)
        log.append_alone(ADVANCE, ev.RunSucceeded(at=self.clock.now()))
        self.local.runtime.store.delete(spec.keys.open)

    def cancel_run(self, spec: RunSpec, by: str) -> None:
        """Let a person cancel a run, which ends at once."""
        log, now = self.local.runtime.log(spec.guild, spec.name), self.clock.now()
        log.append_alone(REQUEST, ev.CancelRequested(at=now, by=self.owner(by)))
        log.append_alone(ADVANCE, ev.RunCancelled(at=now))
        self.local.runtime.store.delete(spec.keys.open)

    def messages(self, channel: str | None = None) -> list[Json]:
        return self.server.messages.listed(channel or self.channel)

    def card(self, name: str, channel: str | None = None) -> Json | None:
        """Return the run's card."""
        found = [one for one in self.messages(channel) if _title(one).startswith(f"{name}: ")]
        assert len(found) < 2
        return found[0] if found else None

    def state(self, name: str, channel: str | None = None) -> str:
        """Return the state that the run's card shows; an empty text if it has none."""
        card = self.card(name, channel)
        return "" if card is None else _title(card).removeprefix(f"{name}: ")

    def updated_at(self, name: str) -> float:
        """Return when the run's card says that it was updated, in Unix seconds."""
        card = self.card(name)
        assert card is not None
        return self.updated(card)

    def updated(self, message: Json) -> float:
        stamp = re.search(r"Updated <t:(\d+):R>", str(message["components"] or message["embeds"]))
        assert stamp is not None
        return float(stamp[1])

    def lists(self) -> list[Json]:
        """Return the lists of live runs in the channel."""
        return [one for one in self.messages() if _title(one).endswith(" live runs")]

    def thread(self, name: str) -> str:
        """Return the id of the thread that the bot opened for a run; an empty text if none."""
        found = [one for one in self.server.world.threads_of(self.guild) if one["name"] == name]
        assert len(found) < 2
        return str(found[0]["id"]) if found else ""

    def told(self, name: str) -> list[str]:
        """Return the titles of the messages in a run's thread, oldest first."""
        thread = self.thread(name)
        messages = self.messages(thread) if thread else []
        assert not [one for one in messages if one["mentions"] or one["mention_roles"]]
        return [_title(one) for one in messages]

    def pings(self, name: str, channel: str | None = None) -> list[Json]:
        """Return the messages that mention somebody and tell of the run's end."""
        found = [one for one in self.messages(channel) if one["mentions"]]
        texts = [(one, [one["content"], *texts_of(one["components"])]) for one in found]
        end = re.compile(rf"<@\d+>.* {name} ")
        return [one for one, its in texts if any(end.match(text) for text in its)]

    def direct(self, owner: str = "Ada") -> list[Json]:
        return self.messages(str(self.server.world.dm_with(self.owner(owner))["id"]))

    def untold(self) -> list[str]:
        return self.local.runtime.store.names("bot/unannounced")


def pictures(message: Json) -> list[str]:
    """Return what each picture of a message shows, in words."""
    galleries = [one for _, one in walk(message["components"], "") if one["type"] == MEDIA_GALLERY]
    return [str(item["description"]) for one in galleries for item in one["items"]]


def _title(message: Json) -> str:
    if message["embeds"]:
        return str(message["embeds"][0].get("title", ""))
    return next(iter(texts_of(message["components"])), "").split("\n")[0].removeprefix("### ")
