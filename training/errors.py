"""Failures that a user can act on: cause and fix in plain words, and the remedy as data."""

from training.remedies import Remedy


class TrainingError(Exception):
    """A failure that the user can act on; anything else that is raised is a bug.

    `args` holds all three parts, so that the error survives pickling between processes.

    Attributes:
        cause: What happened.
        fix: What to do about it, without naming a command of any front end.
        remedy: The action that `fix` describes, for a front end that has a command for it.
    """

    def __init__(self, cause: str, fix: str, remedy: Remedy | None = None) -> None:
        super().__init__(cause, fix, remedy)
        self.cause, self.fix, self.remedy = cause, fix, remedy

    def __str__(self) -> str:
        return f"{self.cause} {self.fix}"


class RequestError(TrainingError):
    """The request cannot be fulfilled as it is."""


class NotFoundError(TrainingError):
    """The named dataset, run, model or checkpoint does not exist here."""


class DatasetError(TrainingError):
    """The dataset cannot be used as it is."""


class MergeError(TrainingError):
    """A speed LoRA and a base model do not fit together."""


class AdapterError(TrainingError):
    """A LoRA file is damaged or does not fit its purpose."""


class StageError(TrainingError):
    """A stage of a run failed for a reason that a user or operator can fix."""


class BackendError(TrainingError):
    """The backend cannot start stages until somebody changes its setup."""


class StartDelayedError(BackendError):
    """The backend cannot start anything now; later, it will start the waiting stages by itself."""
