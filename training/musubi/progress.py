"""How a program reports to the stage that started it: one JSON line per event, and exit codes.

This module needs only the standard library, because it also runs in musubi-tuner's environment.
The stage reads the events with `progress_reader`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict

from training.runs.training_events import ProgressEvent

PROGRESS_FD_VARIABLE = "LORABOT_PROGRESS_FD"
EXIT_STOPPED = os.EX_TEMPFAIL  # 75: stopped on request; can resume where it stopped
EXIT_BROKE = os.EX_DATAERR  # 65: the loss was NaN or infinite; the last good state is saved

# On Linux, a single write to a pipe of up to this size is atomic. So the reader never gets half an
# event, even if the trainer is killed.
_ATOMIC_WRITE_BYTES = 4096


class ProgressWriter:
    """Writes events to the file descriptor `fd`; discards them if `fd` is None."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "ProgressWriter":
        """Return a writer to the descriptor in `LORABOT_PROGRESS_FD`.

        If the variable is unset, the writer discards events.

        Raises:
            ValueError: The variable is not a number.
        """
        text = (os.environ if environment is None else environment).get(PROGRESS_FD_VARIABLE)
        return cls(int(text) if text else None)

    def write(self, event: ProgressEvent) -> None:
        """Write one event atomically.

        Raises:
            ValueError: The event is too long for an atomic write.
        """
        if self._fd is None:
            return
        line = json.dumps(asdict(event)).encode() + b"\n"
        if len(line) > _ATOMIC_WRITE_BYTES:
            raise ValueError(f"A progress event of {len(line)} bytes is too long.")
        try:
            os.write(self._fd, line)
        except BrokenPipeError:
            # Nobody is reading any more. Continue without reporting, because the training is worth
            # finishing.
            self._fd = None
