"""How a program reports to the stage that started it: one JSON line per event, an exit code.

Only the standard library is imported, because this also runs in musubi-tuner's environment.
`progress_reader` is the other end.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict

from training.runs.training_events import ProgressEvent

PROGRESS_FD_VARIABLE = "LORABOT_PROGRESS_FD"
EXIT_STOPPED = os.EX_TEMPFAIL  # 75: stopped on request, state saved, can be restarted

# POSIX guarantees that a pipe takes a write of this size in one piece, so a reader never sees
# half an event, not even from a trainer that is killed.
_ATOMIC_WRITE_BYTES = 4096


class ProgressWriter:
    """Writes events to the file descriptor given by the starting process, or nowhere."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "ProgressWriter":
        """Return a writer for the descriptor in `LORABOT_PROGRESS_FD`; a silent one if unset.

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
            # The stage is gone, but the training is still worth finishing.
            self._fd = None
