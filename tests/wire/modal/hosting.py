"""The bot deployed to a control plane on this machine, with the sandbox as Discord, for tests."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import modal
import pytest

from bot.hosting.modal import ModalInstallation
from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer
from bot.service.links import LinkSigner
from bot.settings import Settings as BotSettings
from tests.wire.bot.added_runs import add_run, add_trained_run, place_of
from tests.wire.bot.chat import ROLE, Chat
from tests.wire.modal.loopback.api import PATIENCE_SECONDS, Loopback
from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.settings import Settings
from training.deployment.names import Deployment
from training.runs import events as ev
from training.runs.event_log import ADVANCE, Writer
from training.runs.events import Event
from training.runs.spec import RunSpec
from training.store_keys import RunKeys

ROOT = Path(__file__).parents[3]


class Hosting:
    """One deployment of the bot, without the stages.

    Attributes:
        loopback: The control plane.
        server: What stands for Discord.
        deployment: The names of everything.
        runtime: What works on the deployment's store, seen from this process.
    """

    def __init__(self, loopback: Loopback, server: SandboxServer) -> None:
        self.loopback, self.server = loopback, server
        self.deployment = Deployment(name="hosted", engine="rehearsal")
        self.place = place_of(server)
        self.guild, self.channel = self.place.guild, self.place.channel

    @cached_property
    def runtime(self) -> ModalInstallation:
        return ModalInstallation(BotSettings(team_role=ROLE), self.deployment)

    def signer(self) -> LinkSigner:
        """Return what makes the links of the deployed bot."""
        return LinkSigner(self.runtime.link_secret(), self.loopback.public_url("Bot"))

    def create_secret(self, **variables: str) -> None:
        """Store the secret of the bot, by default with its token."""
        found = variables or {"LORABOT_DISCORD_TOKEN": self.server.bot_token}
        self.loopback.create_secret(self.deployment.discord_secret, found)

    def deploy(self, *, strategy: str = "rolling", **env: str) -> str:
        """Deploy the bot and return what `modal deploy` printed."""
        told = {name: text for name, text in self.deployment.variables().items() if text}
        told |= {"LORABOT_DISCORD_URL": self.server.base_url, "LORABOT_TEAM_ROLE": ROLE}
        told |= {"LORABOT_EDIT_SECONDS": "0.3", **env}
        return self.loopback.deploy("module:bot.modal_app", env=told, cwd=ROOT, strategy=strategy)

    def deploy_stages(self) -> None:
        """Deploy what trains runs, which most tests of the bot do without."""
        self.loopback.create_secret(self.deployment.hub_secret, {"HF_TOKEN": "hf_loopback"})
        told = {name: text for name, text in self.deployment.variables().items() if text}
        self.loopback.deploy("module:training.modal_app", env=told, cwd=ROOT)

    def wait_until_it_serves(self, *, except_for: tuple[Container, ...] = ()) -> Container:
        """Wait until a copy serves that is none of those, and all others are gone."""
        known = {its.id for its in except_for}
        living = self.loopback.plane.scheduler.living_all

        def serving() -> list[Container]:
            bots = [its for its in living() if its.name == "Bot"]
            return bots if len(bots) == 1 and bots[0].is_serving else []

        self.loopback.wait_for(lambda: [its for its in serving() if its.id not in known])
        return self.bots()[-1]

    def bots(self, *, ended: bool = False) -> list[Container]:
        """Return the containers of the bot."""
        return self.loopback.containers("Bot", ended=ended)

    def start(self) -> Container:
        """Deploy the bot with its secret and wait until it serves."""
        self.create_secret()
        self.deploy()
        return self.wait_until_it_serves()

    def watch(self) -> tuple[str | None, str]:
        """Run the watchdog as the tick does; return its result and its whole output."""
        call = self.loopback.fire_cron("watch")
        calls = self.loopback.plane.calls.calls
        self.loopback.wait_for(lambda: calls[call].finished_at is not None)
        (outcome,) = [its.outcome for its in self.loopback.journal if its.call_id == call]
        return outcome, self.loopback.logs("watch")

    def wait_until_card_is_noted(self) -> None:
        """Wait until the store has the place of a card, so that the next copy continues it."""
        gives_up_at = time.monotonic() + PATIENCE_SECONDS
        while not self.runtime.runtime.store.names("bot/cards"):
            if time.monotonic() > gives_up_at:
                raise TimeoutError("no card was noted")
            time.sleep(0.05)  # a Volume announces no changes

    def add_run(self, name: str, *events: Event) -> RunSpec:
        """Store an open run with these events, as if it had been started."""
        return add_run(self.runtime, self.place, name, *events)

    def add_trained_run(self, name: str, content: bytes) -> str:
        """Store a run with one checkpoint, and return the key of its file."""
        return add_trained_run(self.runtime, self.place, name, content)

    def append(self, name: str, event: Event) -> None:
        """Append an event to a run."""
        log = self.runtime.runtime.log(self.guild, name)
        log.append(Writer(name=ADVANCE, attempt=1), event)

    def end_run(self, name: str) -> None:
        """Let a run succeed."""
        self.append(name, ev.RunSucceeded(at=datetime.now(UTC)))
        self.runtime.runtime.store.delete(RunKeys(self.guild, name).open)


@asynccontextmanager
async def hosting(folder: Path, settings: Settings | None = None) -> AsyncGenerator[Hosting]:
    """Run a control plane and a sandbox; this process's client is led to the control plane."""
    server = SandboxServer(folder / "sandbox")
    await server.start()
    try:
        with control_plane(folder / "modal", settings or Settings()) as loopback:
            yield Hosting(loopback, server)
            await asyncio.to_thread(close_client)  # one for the process
            loopback.check()
    finally:
        await server.stop()
    assert server.rest.mistakes == []


@asynccontextmanager
async def person(server: SandboxServer, name: str = "Ada") -> AsyncGenerator[Chat]:
    """Open the chat for a person."""
    async with SandboxUser(server.page_url, user=name) as user:
        yield Chat(user)


@contextmanager
def control_plane(folder: Path, settings: Settings) -> Generator[Loopback]:
    """Run a control plane; this process's client is led to it."""
    with Loopback(folder, settings) as running, pytest.MonkeyPatch.context() as environment:
        for name, value in running.client_env().items():
            environment.setenv(name, value)
        yield running


def close_client() -> None:
    """Close the only client of this process: the next test may have another control plane."""
    modal.Client.from_env().close()
