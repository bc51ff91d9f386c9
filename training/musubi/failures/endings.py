"""Reads how a program ended: from an exception, an exit code, a signal or the progress bar."""

import re
from dataclasses import dataclass

_SHOWN = 400
_SIGNALLED = re.compile(r"died\s+with\s+<Signals\.(SIG\w+)|Signal \d+ \((SIG\w+)\)")
_STATUS = re.compile(
    r"(?:exit\s+status|exitcode\s*:|with (?:return |exit )?(?:code|status))\s*(-?\d+)"
)
_FINISHED = "model saved."
# Linux's signals, because the programs run on Linux. Their logs may be explained on another system,
# whose signals have other numbers.
_SIGNALS = dict(
    enumerate(
        (
            *("HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV"),
            *("USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN"),
            *("TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS"),
        ),
        start=1,
    )
)
_STEP = re.compile(r"steps: [^\r\n]*?\| *(\d+)/(\d+) \[[^\r\n\]]*avr_loss=")


@dataclass(frozen=True, slots=True)
class LastWords:
    """The end of a program: the text of an exception or signal, and the traceback's frames."""

    exception: str
    frames: str = ""

    @property
    def line(self) -> str:
        """The first line of the text (two if the first ends in a colon), shortened for display."""
        lines = [line.strip() for line in self.exception.strip().splitlines() if line.strip()]
        first = " ".join(lines[:2]) if lines and lines[0].endswith(":") else (lines or [""])[0]
        return first if len(first) <= _SHOWN else f"{first[:_SHOWN]}…"


def last_step(log: str) -> tuple[int, int] | None:
    """Return the highest step in the progress bars and the total; None if there is no bar yet."""
    found = ((int(bar[1]), int(bar[2])) for bar in _STEP.finditer(log))
    return max(found, default=None)


def by_exit_code(code: int) -> LastWords | None:
    """Return the signal or Windows status that an exit code means; None for a code such as 1."""
    return crash(LastWords(f"exit status {code}"))


def crash(ended: LastWords) -> LastWords | None:
    """Return the signal or Windows status in a text such as `exit status 137`; else None."""
    signalled = _SIGNALLED.search(ended.exception)
    if signalled is not None:
        return died(signalled[1] or signalled[2])
    status = _STATUS.search(ended.exception)
    code = int(status[1]) if status is not None else 0
    if -64 < code < 0 or 128 < code < 160:
        return died(signal_name(-code if code < 0 else code - 128))
    if code & 0xFFFF_FFFF >= 0xC000_0000:
        return LastWords(f"Windows status 0x{code & 0xFFFF_FFFF:08X} (exit code {code})")
    return None


def died(name: str | None) -> LastWords | None:
    return LastWords(f"died with <Signals.{name}>") if name is not None else None


def signal_name(number: int) -> str | None:
    return f"SIG{_SIGNALS[number]}" if number in _SIGNALS else None


def went_on(before: str, after: str) -> bool:
    """Return whether training went on in `after`: it took more steps than in `before`, or finished.

    If so, an error between `before` and `after` did not end the program.
    """
    earlier = last_step(before) or (0, 0)
    later = {int(bar[1]) for bar in _STEP.finditer(after)}
    # On exit the progress bar is drawn once more, so a single further step does not prove that
    # training went on.
    return _FINISHED in after or len([step for step in later if step > earlier[0]]) > 1
