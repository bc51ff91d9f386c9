"""The report in which a deployed bot says whether it started."""

from typing import Self

from pydantic import BaseModel, ConfigDict

from training.errors import TrainingError


def report_key(deploy: str) -> str:
    return f"bot/start/{deploy}"


class StartupReport(BaseModel):
    """Whether the newest copy of a deployed bot started.

    Attributes:
        cause: Why the bot could not start; empty if it started.
        fix: What to do about it; empty if unknown.
    """

    model_config = ConfigDict(frozen=True)

    cause: str = ""
    fix: str = ""

    @classmethod
    def of(cls, error: Exception | None = None) -> Self:
        """Return the report of a failed start, or of a successful one if `error` is None."""
        match error:
            case None:
                return cls()
            case TrainingError():
                return cls(cause=error.cause, fix=error.fix)
            case _:
                return cls(cause=f"{type(error).__name__}: {error}.")
