"""Runs the launcher on the stand-in for musubi-tuner, in a separate process."""

import os
import signal
import sys
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.ml.step_rows import StepRow, step_rows
from training.musubi.launcher.program import main
from training.musubi.progress_reader import read_events
from training.runs.training_events import ProgressEvent

STANDIN = Path(__file__).parent / "standin"
TRAIN, LATENTS, TEXT = (
    f"wan_{name}.py" for name in ("train_network", "cache_latents", "cache_text_encoder_outputs")
)

# At the first optimizer step torch imports more modules, for seconds; do it once before forking.
torch.optim.AdamW([torch.zeros(1, requires_grad=True)]).step()


@dataclass(frozen=True)
class Ended:
    """A launched script that has ended; a negative code is the signal that ended it."""

    code: int
    events: list[ProgressEvent]
    output: str

    @property
    def steps(self) -> list[StepRow]:
        return step_rows(self.events)


class Process:
    """A fork of this process, which has imported torch already: that takes seconds."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: int) -> None:
        self.pid = os.fork()
        self._code: int | None = None
        if self.pid == 0:
            _run(arguments, environment, log)

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def kill(self) -> None:
        if self._code is None:
            self.send_signal(signal.SIGKILL)
            self.wait()


def _run(arguments: Sequence[str], environment: Mapping[str, str], log: int) -> None:
    code = 1
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        torch.set_num_threads(1)
        code = main(arguments, environment)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # noqa: BLE001 - what the interpreter would do with it
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)


@contextmanager
def launched(
    script: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    checkout: Path = STANDIN,
    log: int = 2,
) -> Generator[tuple[Process, Iterator[ProgressEvent]]]:
    """Start a script of the stand-in; yield the process and its events as they come."""
    reader, writer = os.pipe()
    path = str(checkout / "src/musubi_tuner" / script)
    told = {**(environment or {}), "LORABOT_PROGRESS_FD": str(writer)}
    process = Process([path, *arguments], told, log)
    os.close(writer)
    try:
        yield process, read_events(reader)
    finally:
        process.kill()
        os.close(reader)


def run(
    script: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    checkout: Path = STANDIN,
) -> Ended:
    """Run a script of the stand-in to its end."""
    log = os.memfd_create("log")
    try:
        with launched(script, arguments, environment, checkout=checkout, log=log) as (
            process,
            events,
        ):
            found = list(events)
            code = process.wait()
        size = os.fstat(log).st_size
        return Ended(code, found, os.pread(log, size, 0).decode())
    finally:
        os.close(log)
