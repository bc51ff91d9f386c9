"""Printing: people get text, programs get JSON, never both on one stream."""

import json
import math
import re
import sys
import unicodedata
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from training.errors import TrainingError

# Only what the command line can do too; the rest stays as it is typed in chat.
_COMMANDS = {
    "/dataset add": "lorabot add",
    "/dataset check": "lorabot check",
    "/dataset diff": "lorabot diff",
    "/train": "lorabot train",
    "/runs": "lorabot runs",
    "/status": "lorabot runs",
    "/checkpoint list": "lorabot checkpoint list",
    "/resume": "lorabot resume",
    "/cancel": "lorabot cancel",
    "/download": "lorabot download",
}
_NAMED = "|".join(re.escape(command) for command in _COMMANDS)
# Not in the middle of a path: what follows a letter, or is followed by another part of one.
_COMMAND = re.compile(rf"(?<![\w./])({_NAMED})(?![\w/-])((?: [a-z][\w-]*:[^\s,;]+)*)")
_OPTION = re.compile(r" ([a-z][\w-]*):")


def for_terminal(text: str, place: str = "") -> str:
    """Return a text with the commands of the chat as they are typed on a terminal.

    Args:
        text: What is said.
        place: The options that name the installation, with a space before them.
    """

    def typed(found: re.Match[str]) -> str:
        return _COMMANDS[found[1]] + place + _OPTION.sub(r" --\1 ", found[2])

    return _COMMAND.sub(typed, text)


console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout; a number that is none, as a lost loss, is null."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def print_error(error: TrainingError, place: str = "") -> None:
    """Print an expected failure on stderr: what is wrong, then what to do.

    Args:
        error: The failure.
        place: The options that named the installation, for commands that are to be typed.
    """
    errors.print(f"[bold red]error:[/] {plain(for_terminal(error.cause, place))}", style=None)
    if error.fix:
        errors.print(f"  {plain(for_terminal(error.fix, place))}")


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            items = cast("dict[str, Any]", value).items()
            return {name: _finite(item) for name, item in items}
        case list() | tuple():
            return [_finite(item) for item in cast("list[Any]", value)]
        case _:
            return value


def plain(text: str) -> str:
    """Return a text so that the terminal shows it as it is: no markup, no control codes."""
    # What a file is called may hold a terminal's control codes.
    shown = "".join(c for c in text if c == "\n" or unicodedata.category(c) != "Cc")
    return shown.replace("[", r"\[")


@contextmanager
def counted(what: str, *, is_quiet: bool) -> Generator[Callable[[int, int], None]]:
    """Give the body something to tell its progress to; shown on a terminal only."""
    with _bar(BarColumn(), MofNCompleteColumn(), is_quiet=is_quiet) as progress:
        bar = progress.add_task(what, total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        yield on_progress


@contextmanager
def fetched(
    total_bytes: int, what: str = "Fetching", *, is_quiet: bool = False
) -> Generator[Callable[[int], None]]:
    """Give the body something to tell how many bytes are there; shown on a terminal only."""
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with _bar(*columns, is_quiet=is_quiet) as progress:
        bar = progress.add_task(what, total=total_bytes)
        yield lambda here_bytes: progress.update(bar, completed=here_bytes)


def _bar(*columns: ProgressColumn, is_quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=is_quiet or not console.is_terminal,
    )
