"""The data that describes a known failure, and the advice that several failures share."""

from dataclasses import dataclass
from typing import Literal

# The change to suggest for a failure: settings that need less memory, or rebuilt caches.
Relief = Literal["memory", "caches"]


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """A failure that we can explain.

    Attributes:
        pattern: Regular expression to find in the exception, which begins with its type:
            `ValueError: ...`.
        cause: What happened. `{line}` stands for the exception's first line, and `{name}` for
            the group `name` of the pattern.
        resumable: Whether the run can resume once the fix or the suggestion is applied.
        retry: Whether the same run is likely to succeed later or on another machine.
        within: Regular expression that the traceback's frames must also match; "" if `pattern`
            alone is enough.
    """

    code: str
    pattern: str
    cause: str
    fix: str
    resumable: bool = True
    retry: bool = False
    relief: Relief | None = None
    within: str = ""


def outside(files: str) -> str:
    """Return a `within` that no traceback matches if a frame is in a file that matches `files`."""
    return rf'\A(?!(?s:.*)File "[^"\n]*({files})[^"\n]*")'


ADD_MEMORY = "Give the machine more memory or train fewer LoRAs at once, then resume the run."
INSTALLATION = "Ask the operator to repair the installation, then resume the run."
MODEL_FILE = "Restore the model's original file, then resume the run."
WEIGHTS = "Ask the operator to download this model's weights again, then resume the run."
CACHES = "Rebuild the caches of this dataset, then resume the run."
DATASET = "Fix the dataset, upload it as a new version and start a run with it."
ELSEWHERE = "Resume the run, if possible on another machine."
