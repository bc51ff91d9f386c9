"""The failures a user can act on; each carries a cause and a fix in plain words."""

from training.suggestions import Suggestion


class TrainingError(Exception):
    """A failure the user can act on; anything else that is raised is a bug.

    Both texts live in `args`, so that the error survives pickling between processes.
    """

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(cause, fix)
        self.cause, self.fix = cause, fix

    def __str__(self) -> str:
        return f"{self.cause} {self.fix}"


class RequestError(TrainingError):
    """What was asked for cannot be done as asked."""


class NotFoundError(TrainingError):
    """The dataset, run, model or checkpoint that was named does not exist here."""


class DatasetError(TrainingError):
    """The dataset cannot be used as it is."""


class MergeError(TrainingError):
    """A speed LoRA and a base model do not fit together."""


class AdapterError(TrainingError):
    """A LoRA file is damaged, or does not fit what it is meant for."""


class StageError(TrainingError):
    """A stage of a run failed for a reason that a user or operator can change.

    `suggestion` is a changed setting with which another run may succeed.
    """

    def __init__(self, cause: str, fix: str, suggestion: Suggestion | None = None) -> None:
        super().__init__(cause, fix)
        self.suggestion = suggestion


class BackendError(TrainingError):
    """Stages cannot be started where they are to run, until somebody changes something there."""
