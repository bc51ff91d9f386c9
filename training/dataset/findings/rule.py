"""The form of a code's words; the words themselves are in `file_codes` and `media_codes`."""

from dataclasses import dataclass

from training.dataset.report import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """The words of one code.

    Attributes:
        one: Follows the name of a single file: `a.mp4` + " has no caption".
        many: Follows a count: "3 of 12 clips" + " have no caption".
        because: Why it matters, in a sentence; may be empty.
        fix: What the owner can do, or what repair does.
    """

    severity: Severity
    is_repaired: bool
    one: str
    many: str
    because: str
    fix: str


def error(one: str, many: str, because: str, fix: str) -> Rule:
    """Return a rule that stands against training."""
    return Rule("error", False, one, many, because, fix)


def warning(one: str, many: str, because: str, fix: str) -> Rule:
    """Return a rule that leaves the decision to the owner."""
    return Rule("warning", False, one, many, because, fix)


def repaired(one: str, many: str, because: str, fix: str, severity: Severity = "info") -> Rule:
    """Return a rule about what repair sets right."""
    return Rule(severity, True, one, many, because, fix)


def left_out(one: str, many: str, because: str, fix: str) -> Rule:
    """Return a rule about files that are of no use."""
    return Rule("info", True, one, many, because, fix)
