"""Requests that a trainer carries out after its current step: save, or finish training early.

A stage makes a request by creating a file in a folder whose path it passes to its program. This
module imports only the standard library, because it also runs in musubi-tuner's environment.
"""

from collections.abc import Mapping
from pathlib import Path

FOLDER_VARIABLE = "LORABOT_REQUESTS"
_SAVE, _FINISH = "save", "finish"


class TrainerRequests:
    """The requests in the folder that `LORABOT_REQUESTS` names; none if that variable is unset."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        named = environment.get(FOLDER_VARIABLE)
        self._folder = Path(named) if named else None

    def take_save(self) -> bool:
        """Return whether a checkpoint is requested, and delete the request."""
        if self._folder is None:
            return False
        try:
            (self._folder / _SAVE).unlink()
        except OSError:
            return False
        return True

    def wants_end(self) -> bool:
        """Return whether training should finish early, after this step."""
        return self._folder is not None and (self._folder / _FINISH).exists()


NO_REQUESTS = TrainerRequests({})


def ask_to_save(folder: Path) -> None:
    (folder / _SAVE).touch()


def ask_to_finish(folder: Path) -> None:
    (folder / _FINISH).touch()
