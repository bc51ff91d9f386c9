"""One known failure of musubi-tuner, as data."""

from dataclasses import dataclass
from typing import Literal

# What may help: settings that ask for less memory, or caches made anew.
Relief = Literal["memory", "caches"]


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """One failure; `cause` and `fix` may name what a group of the pattern has caught.

    Attributes:
        pattern: Found in the text of the exception, its type included.
        within: Found in the frames of the traceback, where the exception alone says too little.
        resumable: Whether the run can go on from what it saved, once the fix or the suggestion is
            applied.
    """

    code: str
    pattern: str
    cause: str
    fix: str
    resumable: bool = False
    relief: Relief | None = None
    within: str = ""
