"""Several copies of the bot on one home and one sandbox, for tests."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from bot.discord.copies.leader import Timing
from bot.hosting.bot import RunningBot, running_bot
from bot.hosting.local import LocalInstallation
from bot.sandbox.server import SandboxServer
from bot.service.imports.imports import ImportOptions
from bot.settings import Settings
from storage.local.claims import FileClaims
from tests.wire.bot.chat import ROLE

# The served timing, but a standby waits less to keep tests short.
TIMING = Timing(poll=0.1, beat=0.2, pause=0.3)


class NotedClaims(FileClaims):
    """Claims that record which ones this copy has, and can be slow or unreachable."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.own: list[str] = []
        self.delay_seconds = 0.0
        self.is_cut = False

    def claim(self, name: str) -> bool:
        time.sleep(self.delay_seconds)
        if self.is_cut:
            raise ConnectionError("the claims are out of reach")
        if is_own := super().claim(name):
            self.own.append(name)
        return is_own


@dataclass
class Copy:
    """One copy of the bot."""

    bot: RunningBot
    local: LocalInstallation
    claims: NotedClaims
    stack: AsyncExitStack

    async def leave(self) -> None:
        """End this copy as its host does on SIGTERM."""
        await self.stack.aclose()


@dataclass
class Copies:
    """Starts copies of the bot, all of one home."""

    server: SandboxServer
    home: Path
    imports: ImportOptions | None = None
    started: list[Copy] = field(default_factory=list[Copy])

    async def start(self, *, grace: float = 20.0) -> Copy:
        """Start one more copy; returns when it is active or stands by."""
        local = LocalInstallation(Settings(home=self.home, team_role=ROLE, upload_limit_mib=5))
        local.claims = claims = NotedClaims(self.home / "claims")
        stack = AsyncExitStack()
        stack.push_async_callback(asyncio.to_thread, local.stop_worker)
        bot = await stack.enter_async_context(
            running_bot(
                local,
                token=self.server.bot_token,
                engine="rehearsal",
                edit_seconds=0.3,
                timing=replace(TIMING, grace=grace),
                imports=self.imports,
            )
        )
        copy = Copy(bot, local, claims, stack)
        self.started.append(copy)
        return copy

    async def leave(self) -> None:
        """End all copies."""
        for copy in self.started:
            await copy.leave()


async def until(condition: Callable[[], bool], *, seconds: float = 90.0) -> None:
    """Wait for something that no event announces."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # it is asked of an unchanged program
            await asyncio.sleep(0.02)
