"""Failures that a user can act on: a cause and a fix in plain words, and what helps as data."""

from training.remedies import Remedy


class TrainingError(Exception):
    """A failure that the user can act on; anything else that is raised is a bug.

    `args` holds all three parts, so that the error survives pickling between processes.

    Attributes:
        cause: What happened.
        fix: What to do; names no command of a front end.
        remedy: The action that `fix` speaks of, where a front end has a command for it.
    """

    def __init__(self, cause: str, fix: str, remedy: Remedy | None = None) -> None:
        super().__init__(cause, fix, remedy)
        self.cause, self.fix, self.remedy = cause, fix, remedy

    def __str__(self) -> str:
        return f"{self.cause} {self.fix}"


class RequestError(TrainingError):
    """The request cannot be done as asked."""


class NotFoundError(TrainingError):
    """The named dataset, run, model or checkpoint does not exist here."""


class DatasetError(TrainingError):
    """The dataset cannot be used as it is."""


class MergeError(TrainingError):
    """A speed LoRA and a base model do not fit together."""


class AdapterError(TrainingError):
    """A LoRA file is damaged or does not fit its purpose."""


class StageError(TrainingError):
    """A stage of a run failed for a reason that a user or operator can change."""


class BackendError(TrainingError):
    """The backend cannot start stages until somebody changes its setup."""
