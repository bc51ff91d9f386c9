"""Phrases that several parts of the domain build the same way; stdlib only."""

from collections.abc import Sequence


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the names joined by commas, at most `most` of them: "a, b and 3 more"."""
    shown, more = ", ".join(names[:most]), len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown
