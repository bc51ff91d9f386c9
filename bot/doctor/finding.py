"""The result of a check, and how to fix what failed."""

from dataclasses import dataclass
from typing import Literal

from bot.messages.remedy_text import terminal_command
from training.errors import TrainingError

Status = Literal["fine", "failed", "not checked"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; `fix` is the command or step that fixes a failure."""

    check: str
    status: Status
    text: str
    fix: str = ""


def fine(check: str, text: str) -> CheckResult:
    """Return a passed check."""
    return CheckResult(check, "fine", text)


def failed(check: str, text: str, fix: str) -> CheckResult:
    """Return a failed check with its fix."""
    return CheckResult(check, "failed", text, fix)


def refused(check: str, error: TrainingError) -> CheckResult:
    """Return a check that failed with an error."""
    command = terminal_command(error.remedy)
    return failed(check, error.cause, f"{error.fix} {command}" if command else error.fix)


def unchecked(check: str, why: str) -> CheckResult:
    """Return a check that was skipped, and why."""
    return CheckResult(check, "not checked", why)
