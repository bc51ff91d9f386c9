"""One known failure of musubi-tuner, as data."""

from dataclasses import dataclass
from typing import Literal

# What may help: settings that need less memory, or rebuilt caches.
Relief = Literal["memory", "caches"]


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """One failure; `cause` and `fix` may refer to named groups of the pattern.

    Attributes:
        pattern: Searched in the exception's text, type included.
        within: Searched in the traceback's frames, if the exception alone is ambiguous.
        resumable: Whether the run can resume once the fix or the suggestion is applied.
    """

    code: str
    pattern: str
    cause: str
    fix: str
    resumable: bool = False
    relief: Relief | None = None
    within: str = ""
