"""One thing that was looked at, how it is, and what repairs it."""

from dataclasses import dataclass
from typing import Literal

from bot.messages.remedy_text import terminal_command
from training.errors import TrainingError

Status = Literal["fine", "failed", "not checked"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; `fix` is the command or step that repairs what failed."""

    check: str
    status: Status
    text: str
    fix: str = ""


def fine(check: str, text: str) -> CheckResult:
    """Return that something is as it should be."""
    return CheckResult(check, "fine", text)


def failed(check: str, text: str, fix: str) -> CheckResult:
    """Return that something is not as it should be, and what repairs it."""
    return CheckResult(check, "failed", text, fix)


def refused(check: str, error: TrainingError) -> CheckResult:
    """Return that something failed for the reason of an error."""
    command = terminal_command(error.remedy)
    return failed(check, error.cause, f"{error.fix} {command}" if command else error.fix)


def unchecked(check: str, why: str) -> CheckResult:
    """Return that something could not be looked at, and why."""
    return CheckResult(check, "not checked", why)
