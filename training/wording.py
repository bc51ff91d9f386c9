"""Phrases counts and lists for messages. This module imports only the standard library."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

# What to do about a link that has ended, whichever front end gave it.
NEW_LINK = "Get a new link in the same way as you got this one."
_MOST_NEAR = 3  # limit on the names that "did you mean" suggests
_PLURAL = {
    "has": "have",
    "is": "are",
    "does": "do",
    "needs": "need",
    "comes": "come",
    "belongs": "belong",
    "contains": "contain",
    "encloses": "enclose",
    "looks": "look",
    "holds": "hold",
    "stands": "stand",
}


def listed(names: Sequence[str], most: int = 5) -> str:
    """Join at most `most` names: "a, b and 3 more"."""
    shown, more = ", ".join(names[:most]), len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown


def listed_sentences(sentences: Sequence[str], most: int = 5) -> str:
    """Join at most `most` sentences: "A. B. And 3 more."."""
    shown, more = " ".join(sentences[:most]), len(sentences) - most
    return f"{shown} And {more} more." if more > 0 else shown


def count(number: int, one: str, many: str = "") -> str:
    """Return `1 clip` or `1,512 clips`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def plural(predicate: str) -> str:
    """Return a predicate in the plural: "have no caption" for "has no caption"."""
    verb, _, rest = predicate.partition(" ")
    return f"{_PLURAL.get(verb, verb)} {rest.replace(' its ', ' their ')}"


def agreeing(number: int, predicate: str) -> str:
    """Return the predicate for `number` things: "has no caption" for 1, else "have no caption"."""
    return predicate if number == 1 else plural(predicate)


def spelled(name: str) -> str:
    """Convert a name as typed to its stored form: lower case, no spaces around it."""
    return name.strip().lower()


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """Return "Did you mean annika or anna?" with the names near `typed`; "" if none is near."""
    names = {name.casefold(): name for name in known}
    near = get_close_matches(typed.strip().casefold(), names, n=_MOST_NEAR)
    near = [names[name] for name in near]
    shown = " or ".join(filter(None, (", ".join(near[:-1]), *near[-1:])))
    return f"Did you mean {shown}?" if shown else ""
