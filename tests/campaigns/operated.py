"""A bot as its operator runs it: a process of its own, restarted when it ends, with its log."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bot.sandbox.server import SandboxServer
from tests.wire.bot.chat import ROLE

_START_SECONDS = 120.0


class StartError(Exception):
    """The bot did not start; the text is what it said."""


@dataclass
class OperatedBot:
    """One home and the bot that serves it.

    Attributes:
        variables: Environment variables beyond those that every installation sets.
        command: What starts the bot's own command line.
        starts: How often the bot has come up.
        served_since: When it last came up, by the monotonic clock.
    """

    server: SandboxServer
    home: Path
    log: Path
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    command: Sequence[str] = ()
    starts: int = 0
    served_since: float = float("inf")
    process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the bot and wait until it serves.

        Raises:
            StartError: It ended instead.
        """
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        environment = {
            **os.environ,
            "LORABOT_HOME": str(self.home),
            "LORABOT_DISCORD_TOKEN": self.server.bot_token,
            "LORABOT_DISCORD_URL": self.server.base_url,
            "LORABOT_EDIT_SECONDS": "0.5",
            "LORABOT_TEAM_ROLE": ROLE,
            **self.variables,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, sys.executable, "-m", "bot", "serve"],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.served_since = float("inf")
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if b"serves" not in line:
            self.process.kill()
            self._wait()
            raise StartError(self.said())
        self.starts += 1
        self.served_since = time.monotonic()

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    @asynccontextmanager
    async def kept_up(self) -> AsyncGenerator[None]:
        """Start the bot, and start it again whenever it has been killed, while the body runs."""
        await self.start()
        keeping = asyncio.create_task(self._keep_up(), name="operator")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            if not self.is_up():
                with suppress(StartError):  # it was killed once more
                    await self.start()

    def is_up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def was_up(self, since: float) -> bool:
        """Return whether the bot has served ever since then, by the monotonic clock."""
        return self.is_up() and self.served_since < since

    def tracebacks(self) -> list[str]:
        """Return the ends of all tracebacks in the logs of the bot and of its worker service."""
        found = list[str]()
        for log in (self.log, self.home / "local" / "worker.log"):
            text = log.read_text("utf-8", "replace") if log.is_file() else ""
            before, *parts = text.split("Traceback")
            for part in parts:
                about, error = before.strip().rpartition("\n")[2], part.strip().partition("\n\n")[0]
                found.append(f"{log.name}: {about} {error[-700:]}")
                before = part
        return found

    async def kill(self) -> None:
        """Kill the bot, as the system does when memory runs out."""
        if self.process is not None:
            self.process.kill()
            await asyncio.to_thread(self._wait)

    async def stop(self) -> None:
        """Stop the bot as an operator does, if it is up."""
        if self.process is not None and self.is_up():
            self.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self._wait)

    def _wait(self) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        code = self.process.wait()
        self.process.stdout.close()
        return code

    def processes(self, *words: str) -> list[psutil.Process]:
        """Return the processes of this home whose command lines contain all words."""
        found = list[psutil.Process]()
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if all(word in line for word in words) and process.pid != os.getpid():
                    is_ours = process.environ().get("LORABOT_HOME") == str(self.home)
                    if is_ours or str(self.home) in line:
                        found.append(process)
        return found

    async def kill_all(self) -> None:
        """Kill every process at once, as a power cut does."""
        found = await asyncio.to_thread(self.processes)
        for act in (psutil.Process.suspend, psutil.Process.kill):  # so that none sees another end
            for process in found:
                with suppress(psutil.NoSuchProcess):
                    act(process)
        await asyncio.to_thread(psutil.wait_procs, found, 10)
        await self.kill()
