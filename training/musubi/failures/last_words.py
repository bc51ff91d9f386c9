"""Finds the reason for a program's end in its output: an exception, a signal or the platform."""

import re
from collections.abc import Iterator

from training.musubi.failures.endings import LastWords, crash, went_on
from training.musubi.failures.platform_end import platform_end

# At most this many characters of an exception are read; a list of missing keys can be long.
_LONGEST = 200_000
_LAST_LINES = 60
_CONTEXT = 400

_HEADER = re.compile(r"^.*Traceback \(most recent call last\):[ ]*$", re.MULTILINE)
_EXCEPTION = re.compile(
    r"^[ |]*(?:\[rank\d+\]: ?)?(?P<text>[A-Za-z_][\w.]*"
    r"(?:Error|Exception|Interrupt|Exit|Invalid|Exceeded|Refused|Timeout)\w*(?:: .*|:?[ ]*)$)",
    re.MULTILINE,
)
_ANY_EXCEPTION = re.compile(r"^(?P<text>[A-Za-z_][\w.]*(?:: .*)?)$", re.MULTILINE)
# The text of a multi-line exception ends before a line that begins like this.
_NEXT_RECORD = re.compile(
    r"^(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)[: ]|.*\d%\||\d\d:\d\d:\d\d"
    r"|\[?[IWEF]\d{3,4} \d\d:\d\d:\d\d)",  # printed by torchrun and torch's C++ code
    re.MULTILINE,
)
_CHAINED = re.compile(r"^(?:During handling of|The above exception was).*\n+\Z", re.MULTILINE)
_USAGE = re.compile(r"^\S+\.py: (?P<text>error: .*)$", re.MULTILINE)
# Exceptions of the program that started the trainer, such as accelerate. The trainer's own
# exception is further up in the log.
_LAUNCHER = re.compile(
    r"(?:subprocess\.)?CalledProcessError: Command (?!'?\[?'[^']*?(?:gcc|g\+\+|cc|cc1plus|clang\+*"
    r"|cl|tcc|nvcc|ptxas|ld)(?:\.exe)?')"
    r"|\S*ChildFailedError:|\w+Error: [^\n]*(?:training|process)\S* (?:failed|exited|ended) with "
    r"(?:return |exit )?(?:code|status)"
)
# Exceptions that are raised when a user or a platform stops the program.
_INTERRUPT = re.compile(r"KeyboardInterrupt|SystemExit|\S*SignalException")
# Lines printed during teardown, after the actual failure.
_AFTERMATH = ("Exception ignored in", "Error in atexit")
# Lines like these continue an exception after its first line.
_GOES_ON = re.compile(
    r"\s|CUDA kernel errors|For debugging|Compile with|Search for|Set TORCH|You can suppress"
    r"|For even more|Press any key|(?:steps: *)?\S+% *\||Please |If you |To disable|Check "
)
# A line in which a program of any kind reports its failure.
_ERROR_LINE = re.compile(
    r"(?:[\w./\\-]+: ){0,3}(?:[Ff]atal )?(?:[Ee]rror|ERROR|FATAL|CRITICAL)(?:\[\d+\])?(?: #\d+)?:.*"
)
_ERROR_LINES = 8
_LOSS = re.compile(
    r"\b(?:[a-z]+_)?loss['\"]?\s?[=:]\s?(?P<loss>[+-]?(?:nan|inf|\d[\d.e+-]*))", re.IGNORECASE
)
_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf)", re.IGNORECASE)


def last_words(text: str) -> LastWords | None:
    """Return why a program ended; None if `text` (from `plain_lines`) does not say."""
    raised, ended, above = _raised(text)
    died_of = crash(ended) if ended is not None else None
    if raised is not None and died_of is None and not _INTERRUPT.match(raised.exception):
        return raised
    bare = _bare(above)
    if bare is not None and _INTERRUPT.match(bare.exception):
        bare, raised = None, raised or bare
    return (
        platform_end(text)
        or died_of
        or _usage(text)
        or bare
        or no_number(text)
        or raised
        or ended
        or _error_line(text)
    )


def no_number(text: str) -> LastWords | None:
    """Return the last loss that was printed if it is NaN or infinite; else None."""
    shown = list(_LOSS.finditer(text))
    if not shown or not _NO_NUMBER.fullmatch(shown[-1]["loss"]):
        return None
    return LastWords(f"avr_loss={shown[-1]['loss']}")


def _raised(text: str) -> tuple[LastWords | None, LastWords | None, str]:
    """Return the program's and its launcher's exception, and the text above the launcher's one."""
    ended: LastWords | None = None
    for start, words in _tracebacks(text):
        if _LAUNCHER.match(words.exception) is None:
            return (None if went_on(text[:start], text[start:]) else words), ended, text
        ended = ended or words
        text = text[:start]
    return None, ended, text


def _tracebacks(text: str) -> Iterator[tuple[int, LastWords]]:
    """Yield the position and content of each traceback, from the last to the first."""
    end = len(text)
    headers = list(_HEADER.finditer(text))
    for index in range(len(headers) - 1, -1, -1):
        header = headers[index]
        block, end = text[header.end() : end], header.start()
        if _line_before(text, header.start()).startswith(_AFTERMATH):
            continue
        exception = _EXCEPTION.search(block) or _ANY_EXCEPTION.search(block)
        if exception is None:
            continue
        start = exception.start("text")
        rest = block[start : start + _LONGEST]
        cut = _NEXT_RECORD.search(rest, exception.end("text") - start)
        before = headers[index - 1].end() if index else 0
        chain = text[before:end] if _CHAINED.search(text[max(before, end - 300) : end]) else ""
        yield (
            header.start(),
            LastWords(rest[: cut.start()] if cut else rest, f"{chain[-_LONGEST:]}{block[:start]}"),
        )


def _line_before(text: str, position: int) -> str:
    end = max(position - 1, 0)
    return text[text.rfind("\n", 0, end) + 1 : end]


def _usage(text: str) -> LastWords | None:
    found = list(_USAGE.finditer(text))
    return LastWords(found[-1]["text"]) if found else None


def _bare(text: str) -> LastWords | None:
    """Return the exception at the text's end if it has no traceback, as in a rehearsal's log."""
    lines = [line for line in text.rstrip().split("\n") if line.strip()][-_LAST_LINES:]
    for at in range(len(lines) - 1, -1, -1):
        found = _EXCEPTION.fullmatch(lines[at])
        if found is not None:
            before, after = "\n".join(lines[:at]), "\n".join(lines[at + 1 :])
            if went_on(before, after):
                return None
            return LastWords(f"{found['text']}\n{after}".rstrip(), before[-_CONTEXT:])
        if not _GOES_ON.match(lines[at]):
            return None
    return None


def _error_line(text: str) -> LastWords | None:
    """Return the text from the last `error: ...` line on; None if no such line is near the end."""
    lines = [line for line in text.rstrip().split("\n") if line.strip()][-_ERROR_LINES:]
    for at in range(len(lines) - 1, -1, -1):
        after = "\n".join(lines[at:])
        if went_on("", after):
            return None
        if _ERROR_LINE.fullmatch(lines[at].strip()):
            return LastWords(after)
    return None
