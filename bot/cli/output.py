"""Terminal output: text for people, JSON for programs, never both on one stream."""

import io
import json
import math
import sys
import unicodedata
from collections.abc import Container
from typing import Any, cast

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from bot.messages.remedies import terminal_command
from training.errors import TrainingError

_WIDEST = 100_000  # columns
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def print_every_letter() -> None:
    """Make stdout and stderr accept any character, whatever their encoding.

    A terminal shows an escape for a character that it cannot display. Files and pipes get UTF-8, so
    that captions stay intact; Windows would use a legacy encoding and reject most characters.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                encoding=None if stream.isatty() else "utf-8", errors="backslashreplace"
            )


def print_json(value: Any) -> None:
    """Print one JSON document on stdout, with null for NaN and infinity."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def print_error(error: TrainingError, place: str = "", *, run: str = "RUN") -> None:
    """Print an expected failure on stderr: what went wrong, then what to do.

    Args:
        error: The failure.
        place: Options that select the installation, to append to a suggested command.
        run: Name of the failed run, to use in a suggested command.
    """
    errors.print(f"[bold red]error:[/] {plain(error.cause)}", style=None)
    if error.fix:
        errors.print(f"  {plain(error.fix)}")
    if (command := terminal_command(error.remedy, place, run=run)) is not None:
        errors.print(f"  {plain(command)}")


def is_terminal() -> bool:
    """Return whether a person can answer questions: stdin and stdout are terminals."""
    return sys.stdin.isatty() and console.is_terminal


def confirmed(question: str) -> bool:
    """Ask a yes-or-no question; return whether the answer is yes. The default is no."""
    console.print(f"{question} [y/N] ", end="", markup=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def print_table(table: Table, *, wrapped: Container[str] = ()) -> None:
    """Print a table with each row on one line; only columns named in `wrapped` may break lines.

    Nothing is cut: people copy names from tables, and programs read them.
    """
    for column in table.columns:
        if str(column.header) not in wrapped:
            cells = (column.header, *column.cells)
            column.no_wrap = True
            column.min_width = max(cell_len(line) for c in cells for line in str(c).split("\n"))
    wants = Measurement.get(console, console.options.update(max_width=_WIDEST), table)
    width = max(console.width, wants.minimum) if console.is_terminal else wants.maximum
    # Use a new console, because `console` never prints anything wider than its own width.
    Console(highlight=False, soft_wrap=True, width=width).print(table)


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
    """Escape markup and drop control codes, which file names may contain."""
    shown = "".join(c for c in text if c == "\n" or unicodedata.category(c) != "Cc")
    return shown.replace("[", r"\[")
