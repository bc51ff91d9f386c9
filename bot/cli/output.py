"""Terminal output: text for people, JSON for programs, never both on one stream."""

import json
import math
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

from bot.messages.remedy_text import terminal_command
from training.errors import TrainingError

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout; a number that is none, as a lost loss, is null."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def print_error(error: TrainingError, place: str = "") -> None:
    """Print an expected failure on stderr: what is wrong, then what to do.

    Args:
        error: The failure.
        place: The options that name the installation, appended to a suggested command.
    """
    errors.print(f"[bold red]error:[/] {plain(error.cause)}", style=None)
    if error.fix:
        errors.print(f"  {plain(error.fix)}")
    if (command := terminal_command(error.remedy, place)) is not None:
        errors.print(f"  {plain(command)}")


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
