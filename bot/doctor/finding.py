"""The result of a check, and how to fix a failure."""

from dataclasses import dataclass
from typing import Literal

from bot.messages.remedies import terminal_command
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
    return CheckResult(check, "fine", text)


def failed(check: str, text: str, fix: str) -> CheckResult:
    return CheckResult(check, "failed", text, fix)


def refused(check: str, error: TrainingError) -> CheckResult:
    command = terminal_command(error.remedy)
    return failed(check, error.cause, f"{error.fix} {command}" if command else error.fix)


def unchecked(check: str, why: str) -> CheckResult:
    return CheckResult(check, "not checked", why)
