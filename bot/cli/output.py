"""Printing: people get text, programs get JSON, never both on one stream."""

import json
import sys
import unicodedata
from typing import Any

from rich.console import Console

from training.errors import TrainingError

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def print_error(error: TrainingError) -> None:
    """Print an expected failure on stderr: what is wrong, then what to do."""
    errors.print(f"[bold red]error:[/] {plain(error.cause)}", style=None)
    if error.fix:
        errors.print(f"  {plain(error.fix)}")


def plain(text: str) -> str:
    """Return a text so that the terminal shows it as it is: no markup, no control codes."""
    # What a file is called may hold a terminal's control codes.
    shown = "".join(c for c in text if c == "\n" or unicodedata.category(c) != "Cc")
    return shown.replace("[", r"\[")
