"""How the newest copy of a hosted bot came up: its word to whoever deploys it or looks after it."""

import uuid
from typing import Self

from pydantic import BaseModel, ConfigDict

from training.errors import TrainingError

KEY = "bot/start"  # on the board


class StartWord(BaseModel):
    """What one copy said when it had started, or could not.

    Attributes:
        copy_id: Another one for each copy.
        cause: Why it could not start; empty when it did.
        fix: What repairs that.
    """

    model_config = ConfigDict(frozen=True)

    copy_id: str
    cause: str = ""
    fix: str = ""

    @classmethod
    def of(cls, error: Exception | None = None) -> Self:
        """Return the word of a copy that has started, or of one that `error` kept from it."""
        copy_id = uuid.uuid4().hex
        if error is None:
            return cls(copy_id=copy_id)
        if isinstance(error, TrainingError):
            return cls(copy_id=copy_id, cause=error.cause, fix=error.fix)
        return cls(copy_id=copy_id, cause=f"{type(error).__name__}: {error}")
