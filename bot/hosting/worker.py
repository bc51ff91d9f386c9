"""The worker service, and the stage processes that it starts."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from bot.hosting.local import LocalInstallation
from bot.settings import Settings
from training.backends.local.worker import Worker
from training.errors import TrainingError
from training.files.disk_space import when_room
from training.pipeline.advance import advance, open_runs
from training.pipeline.logging_setup import log_to_stderr
from training.pipeline.runtime import Runtime
from training.pipeline.stage_runner import run_stage
from training.pipeline.stages.functions import stage_function
from training.runs.state import StageStatus

logger = logging.getLogger(__name__)


def serve(home: Path) -> None:
    """Run queued stages until none is left. This process holds the worker's lock until it exits."""
    local = LocalInstallation(Settings.read(home))
    stopping = _stop_on_signal()
    worker = Worker(
        backend=local.backend,
        slots={"gpu": local.settings.gpu_slots, "cpu": local.settings.cpu_slots},
        command=lambda number: _stage_command(local.home, number),
        tick=Tick(local.runtime, local.leftovers.sweep_run),
    )
    threading.Thread(target=_clean_up, args=(local,), name="clean-up", daemon=True).start()
    worker.serve(stopping.is_set)


def stage(home: Path, call: int) -> int:
    """Run one queued attempt of a stage; return the exit code."""
    stopping = _stop_on_signal()
    local = LocalInstallation(Settings.read(home))
    found = local.backend.call(call)
    # The worker may have been killed before it could mark this call as running.
    when_room(
        lambda: local.backend.mark_running(call, os.getpid()),
        patience_seconds=local.runtime.room_seconds,
        pause=stopping.wait,
    )
    status = run_stage(local.runtime, found, stage_function(found.key.stage), stopping)
    return 0 if status in (StageStatus.SUCCEEDED, None) else 1


def _stage_command(home: Path, number: int) -> tuple[str, ...]:
    arguments = ("stage", "--home", str(home), "--call", str(number))
    return (sys.executable, "-m", "bot.hosting.worker", *arguments)


class Tick:
    """Advances all open runs. A run's problem is logged once, not at every tick.

    `on_end` is called with the guild and name of each run that has ended since the last tick.
    """

    def __init__(
        self, runtime: Runtime, on_end: Callable[[str, str], object] = lambda _guild, _run: None
    ) -> None:
        self._runtime, self._on_end = runtime, on_end
        self._open: set[tuple[str, str]] = set()
        self._troubles: dict[tuple[str, str], str] = {}

    def __call__(self) -> int:
        """Advance every open run; return how many there are."""
        found = open_runs(self._runtime)
        troubles = {run: trouble for run in found if (trouble := self._advance(*run)) is not None}
        self._troubles = troubles
        for run in self._open.difference(found):
            self._on_end(*run)
        self._open = set(found)
        return len(found)

    def _advance(self, guild: str, run: str) -> str | None:
        """Advance a run; return what went wrong, or None. The next tick tries again."""
        try:
            advance(self._runtime, guild, run)
        except Exception as error:
            # One broken run must not stop the others.
            trouble = f"{type(error).__name__}: {error}"
            if self._troubles.get((guild, run)) != trouble:
                # Log a traceback only for unexpected errors.
                expected = isinstance(error, (OSError, TrainingError))
                text = "run %s: cannot be advanced: %s"
                logger.exception(text, run, trouble, exc_info=not expected)
            return trouble
        return None


def _clean_up(local: LocalInstallation) -> None:
    try:
        local.sweep()
        local.clean_up_daily()
    except (OSError, TrainingError):
        logger.warning("the daily clean-up failed", exc_info=True)


def _stop_on_signal() -> threading.Event:
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping


def main() -> int:
    """Run the worker service (`serve`, started by the bot) or one stage (`stage`).

    This uses argparse because every stage starts a process, and cyclopts loads slowly.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bot.hosting.worker", description="Internal: started by the bot."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("serve", "stage"):
        command = commands.add_parser(name)
        command.add_argument("--home", type=Path, required=True)
    command.add_argument("--call", type=int, required=True)
    given = parser.parse_args()
    if given.command == "stage":
        return stage(given.home, given.call)
    serve(given.home)
    return 0


if __name__ == "__main__":
    log_to_stderr("%(asctime)s %(levelname)s %(message)s")
    sys.exit(main())
