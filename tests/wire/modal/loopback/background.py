"""Background commits: writes to volumes become visible every few seconds."""

import asyncio

from grpclib.exceptions import GRPCError

from tests.wire.modal.loopback.changes import Changes
from tests.wire.modal.loopback.launcher import Launcher
from tests.wire.modal.loopback.settings import Settings
from tests.wire.modal.loopback.volume_rpcs import Volumes


class BackgroundCommits:
    """Commits the views of all containers while the settings ask for it.

    Attributes:
        done: How many commits were made, of containers that had changed something or not.
        failures: Why commits failed; a container is not told.
    """

    def __init__(
        self, launcher: Launcher, volumes: Volumes, settings: Settings, changes: Changes
    ) -> None:
        self._launcher, self._volumes = launcher, volumes
        self._settings, self._changes = settings, changes
        self.done = 0
        self.failures: list[str] = []

    async def run(self) -> None:
        """Commit every few seconds."""
        while True:
            await self._changes.wait_for(lambda: self._settings.background_commit_seconds, 3600)
            if self._settings.background_commit_seconds is None:
                continue
            await asyncio.sleep(self._settings.background_commit_seconds)
            for view, _processes in self._launcher.views():
                try:
                    await self._volumes.commit(view)
                    self.done += 1
                except GRPCError as error:
                    self.failures.append(str(error.message))
            self._changes.notify()
