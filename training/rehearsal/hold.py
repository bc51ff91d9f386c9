"""Pauses a rehearsal midway, so that tests can act at that point, however fast the machine is."""

from collections.abc import Mapping
from pathlib import Path
from threading import Event

CACHING, TRAINING = "LORABOT_HOLD_CACHING", "LORABOT_HOLD_TRAINING"
_LOOK_SECONDS = 0.05


class Hold:
    """Waits as long as the file named by the environment variable `variable` exists.

    If the variable is unset, it never waits.
    """

    def __init__(self, environment: Mapping[str, str], variable: str) -> None:
        named = environment.get(variable)
        self._file = Path(named) if named else None

    def wait(self, stop: Event | None = None) -> None:
        """Return once the file is gone or `stop` is set."""
        stop = stop or Event()
        while self._file is not None and self._file.exists() and not stop.is_set():
            stop.wait(_LOOK_SECONDS)
