"""One installation for tests, whose processes can be killed."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from bot.hosting.local import LocalInstallation
from training.operations.run_drafts import Requester
from training.pipeline.run_view import RunView
from training.runs.spec import RunSpec, TrainRequest

GUILD = "1"
DEADLINE_SECONDS = 90.0


@dataclass(frozen=True)
class Home:
    """One installation with the dataset `annika`."""

    local: LocalInstallation

    def start(
        self, model: str = "wan21-t2v-1-3b", *, name: str | None = None, **settings: str
    ) -> RunSpec:
        """Start a short run."""
        request = TrainRequest(
            model=model,
            dataset="annika",
            name=name,
            settings={"epochs": "2", "save_every": "1", **settings},
        )
        return self.local.runs.start(
            request, Requester(guild=GUILD, by="7", channel="5"), "rehearsal"
        )

    def view(self, run: str) -> RunView:
        """Return the current view of the run."""
        return self.local.runs.view(GUILD, run)

    def until(self, run: str, reached: Callable[[RunView], bool]) -> RunView:
        """Wait until the run is where the test wants it, restarting the worker as a bot does."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            self.local.ensure_worker()
            view = self.view(run)
            if reached(view):
                return view
            if view.run.status.is_final:
                break
            time.sleep(0.05)
        raise AssertionError(
            f"{run} never got there: {self.view(run).summary(self.local.runtime.clock())}"
        )

    def finish(self, run: str) -> RunView:
        """Wait for the end of the run."""
        return self.until(run, lambda view: view.run.status.is_final)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Return the processes of this home whose command line contains all the words."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if str(self.local.home) in line and all(word in line for word in words):
                found.append(process)
        return found

    def kill(self, *words: str) -> None:
        """Kill the processes whose command line contains all the words."""
        found = self.processes(*words)
        assert found, f"no process with {words}"
        for process in found:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)
