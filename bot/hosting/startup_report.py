"""How the bot of one deploy came up: its word to whoever deploys it or looks after it."""

from typing import Self

from pydantic import BaseModel, ConfigDict

from training.errors import TrainingError


def key(deploy: str) -> str:
    """Return where on the board the copies of one deploy say how they started."""
    return f"bot/start/{deploy}"


class StartWord(BaseModel):
    """What the newest copy of a deploy said when it had started, or could not.

    Attributes:
        cause: Why it could not start; empty when it did.
        fix: What repairs that, where it is known.
    """

    model_config = ConfigDict(frozen=True)

    cause: str = ""
    fix: str = ""

    @classmethod
    def of(cls, error: Exception | None = None) -> Self:
        """Return the word of a copy that has started, or of one that `error` kept from it."""
        match error:
            case None:
                return cls()
            case TrainingError():
                return cls(cause=error.cause, fix=error.fix)
            case _:
                return cls(cause=f"{type(error).__name__}: {error}.")
