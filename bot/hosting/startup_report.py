"""The report of a deployed bot on whether it started."""

from typing import Self

from pydantic import BaseModel, ConfigDict

from training.errors import TrainingError


def key(deploy: str) -> str:
    """Return the board key of a deploy's startup report."""
    return f"bot/start/{deploy}"


class StartWord(BaseModel):
    """Whether the newest copy of a deploy started.

    Attributes:
        cause: Why it could not start; empty if it started.
        fix: What to do about it, if known.
    """

    model_config = ConfigDict(frozen=True)

    cause: str = ""
    fix: str = ""

    @classmethod
    def of(cls, error: Exception | None = None) -> Self:
        """Return the report of a start, failed if there is an `error`."""
        match error:
            case None:
                return cls()
            case TrainingError():
                return cls(cause=error.cause, fix=error.fix)
            case _:
                return cls(cause=f"{type(error).__name__}: {error}.")
