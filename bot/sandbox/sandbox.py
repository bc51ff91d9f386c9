"""The simulated Discord without HTTP: state, rules, gateway and faults."""

from pathlib import Path

from bot.sandbox.faults import Faults
from bot.sandbox.gateway import Gateway, GatewayEvents
from bot.sandbox.interactions import Interactions
from bot.sandbox.payloads import Views
from bot.sandbox.rate_limits import RateLimits
from bot.sandbox.wire import Clock, Snowflakes
from bot.sandbox.world.archive import WorldArchive
from bot.sandbox.world.attachments import Attachments
from bot.sandbox.world.commands import Commands
from bot.sandbox.world.messages import Messages
from bot.sandbox.world.threads import Threads
from bot.sandbox.world.world import Change, Changes, World


class Sandbox:
    """The parts of one sandbox, with its state in the folder `home`."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self.archive = archive = WorldArchive(home)
        self.clock = clock
        self.bot_token = archive.token("bot")
        ids = Snowflakes(clock, archive.newest_id())
        self.changes = Changes()
        self.world = World(archive, ids, clock)
        self.attachments = Attachments(archive, ids, clock)
        self.messages = Messages(archive, self.world, self.attachments, self.changes)
        self.threads = Threads(self.world, self.messages, self.changes)
        self.commands = Commands(archive, self.world, self.changes)
        self.views = Views(self.world, self.attachments)
        self.interactions = Interactions(self.world, self.messages, self.changes)
        self.gateway = Gateway(self.world, self.bot_token)
        self.limits = RateLimits(clock)
        self.faults = Faults(self.gateway, self.messages, self.threads, self.world, self.limits)
        self._events = GatewayEvents(self.world, self.views)
        self.changes.listeners.append(self._announce)

    def _announce(self, change: Change) -> None:
        if event := self._events.of(change):
            self.gateway.dispatch(event)
