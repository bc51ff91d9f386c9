"""The worker service, and the stage processes that it starts."""

import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import cyclopts

from bot.hosting.local import LocalInstallation
from bot.settings import Settings
from training.backends.local.worker import Worker
from training.pipeline.advance import advance, open_runs
from training.pipeline.logging_setup import log_to_stderr
from training.pipeline.stage_runner import run_stage
from training.pipeline.stages.functions import stage_function
from training.runs.state import StageStatus

logger = logging.getLogger(__name__)
app = cyclopts.App(name="python -m bot.hosting.worker", help="Internal: started by the bot.")


@app.command
def serve(*, home: Path) -> None:
    """Run queued stages until nothing is left; holds the lock that it inherited."""
    local = LocalInstallation(Settings.read(home))
    stopping = _stop_on_signal()
    worker = Worker(
        backend=local.backend,
        slots={"gpu": local.settings.gpu_slots, "cpu": local.settings.cpu_slots},
        command=lambda number: _stage_command(local.home, number),
        tick=lambda: _tick(local),
    )
    worker.serve(stopping.is_set)


@app.command
def stage(*, home: Path, call: int) -> None:
    """Run one queued attempt of a stage."""
    stopping = _stop_on_signal()
    local = LocalInstallation(Settings.read(home))
    found = local.backend.call(call)
    status = run_stage(local.runtime, found, stage_function(found.key.stage), stopping)
    sys.exit(0 if status in (StageStatus.SUCCEEDED, None) else 1)


def _stage_command(home: Path, number: int) -> tuple[str, ...]:
    arguments = ("stage", "--home", str(home), "--call", str(number))
    return (sys.executable, "-m", "bot.hosting.worker", *arguments)


def _tick(local: LocalInstallation) -> int:
    found = open_runs(local.runtime)
    for guild, run in found:
        try:
            advance(local.runtime, guild, run)
        except Exception:
            # One broken run must not stop the others; the next tick tries it again.
            logger.exception("run %s: cannot be advanced", run)
    return len(found)


def _stop_on_signal() -> threading.Event:
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping


if __name__ == "__main__":
    log_to_stderr("%(asctime)s %(levelname)s %(message)s")
    app()
