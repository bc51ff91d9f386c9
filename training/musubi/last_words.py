"""Finds the exception that ended a program in its output."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Longest exception text considered: a model's missing keys fill many lines.
_LONGEST = 200_000
_SHOWN = 400

_HEADER = re.compile(r"^.*Traceback \(most recent call last\):[ ]*$", re.MULTILINE)
_EXCEPTION = re.compile(
    r"^[ |]*(?:\[rank\d+\]: ?)?(?P<text>[A-Za-z_][\w.]*"
    r"(?:Error|Exception|Interrupt|Exit|Invalid|Exceeded|Refused|Timeout)\w*(?:: .*|:?[ ]*)$)",
    re.MULTILINE,
)
_ANY_EXCEPTION = re.compile(r"^(?P<text>[A-Za-z_][\w.]*(?:: .*)?)$", re.MULTILINE)
# What ends a multi-line exception.
_NEXT_RECORD = re.compile(r"^(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL):|.*\d%\|)", re.MULTILINE)
_USAGE = re.compile(r"^\S+\.py: (?P<text>error: .*)$", re.MULTILINE)
# A shell's last line for a program ended by a signal; a script's name may precede it.
_SHELL = re.compile(
    r"(?:\S+: line \d+: +\d+ )?(?P<verdict>Killed|Terminated|Segmentation fault|Bus error|Aborted"
    r"|Illegal instruction)(?: \(core dumped\))?(?: {3,}.*)?"
)
_TOLD_AS = {"Killed": "SIGKILL", "Terminated": "SIGTERM"}
# Raised by accelerate, which started the trainer; the trainer's own exception is above it.
_LAUNCHER = re.compile(r"^subprocess\.CalledProcessError: Command .*?(?P<verdict>died with .*)?$")
# Raised during teardown, after the actual failure.
_AFTERMATH = ("Exception ignored in", "Error in atexit")
_FINISHED = "model saved."
_STEP = re.compile(r"steps: [^\r\n]*?\| *(\d+)/(\d+) \[[^\r\n\]]*avr_loss=")


@dataclass(frozen=True, slots=True)
class LastWords:
    """An exception's text, type included, and its stack frames."""

    exception: str
    frames: str = ""

    @property
    def line(self) -> str:
        """Return its first line, shortened for display."""
        first = next(iter(self.exception.strip().splitlines()), "")
        return first if len(first) <= _SHOWN else f"{first[:_SHOWN]}…"


def last_step(log: str) -> tuple[int, int] | None:
    """Return the last step that musubi-tuner printed and the total; None before the first."""
    found = ((int(bar[1]), int(bar[2])) for bar in _STEP.finditer(log))
    return max(found, default=None)


def last_words(log: str) -> LastWords | None:
    """Return the exception that ended the program, or None."""
    text = log.replace("\r", "\n")
    for start, words in _tracebacks(text):
        launcher = _LAUNCHER.match(words.exception)
        if launcher is None:
            return None if _went_on(text[:start], text[start:]) else words
        text = text[:start]
        if launcher["verdict"]:
            return LastWords(launcher["verdict"])
    return _usage(text) or _bare(text)


def _tracebacks(text: str) -> Iterator[tuple[int, LastWords]]:
    """Yield the position and content of each traceback, last one first."""
    end = len(text)
    for header in reversed(list(_HEADER.finditer(text))):
        block, end = text[header.end() : end], header.start()
        if _line_before(text, header.start()).startswith(_AFTERMATH):
            continue
        exception = _EXCEPTION.search(block) or _ANY_EXCEPTION.search(block)
        if exception is None:
            continue
        start = exception.start("text")
        rest = block[start : start + _LONGEST]
        cut = _NEXT_RECORD.search(rest, exception.end("text") - start)
        yield header.start(), LastWords(rest[: cut.start()] if cut else rest, block[:start])


def _line_before(text: str, position: int) -> str:
    end = max(position - 1, 0)
    return text[text.rfind("\n", 0, end) + 1 : end]


def _went_on(before: str, after: str) -> bool:
    """Return whether training survived a traceback: it took more steps or finished."""
    earlier = last_step(before) or (0, 0)
    later = {int(bar[1]) for bar in _STEP.finditer(after)}
    # On exit the bar is drawn once more, with a step that was not shown before.
    return _FINISHED in after or len([step for step in later if step > earlier[0]]) > 1


def _usage(text: str) -> LastWords | None:
    """Return a usage error."""
    found = list(_USAGE.finditer(text))
    return LastWords(found[-1]["text"]) if found else None


def _bare(text: str) -> LastWords | None:
    """Return the last line if it is an exception without a traceback, as in a rehearsal."""
    before, _, last = text.rstrip().rpartition("\n")
    found = _EXCEPTION.fullmatch(last)
    return LastWords(found["text"], before[-_SHOWN:]) if found else None


def shell_verdict(log: str) -> LastWords | None:
    """Return the signal that a shell reports at the end of a log."""
    last = log.replace("\r", "\n").rstrip().rpartition("\n")[2]
    found = _SHELL.fullmatch(last)
    if found is None:
        return None
    signal = _TOLD_AS.get(found["verdict"])
    return LastWords(f"died with <Signals.{signal}>" if signal else last)
