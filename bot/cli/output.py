"""Printing: people get text, programs get JSON, never both on one stream."""

import json
import math
import sys
import unicodedata
from typing import Any, cast

from rich.console import Console

from bot.cli.terminal_words import for_terminal
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
