"""`lorabot explain`: explain a failure from a musubi-tuner log."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from bot.cli.output import console, errors, print_json
from bot.cli.parameters import Json
from bot.messages.remedies import suggestion_option, suggestion_words
from training.errors import RequestError
from training.files.given_files import require_regular
from training.musubi.failures.endings import last_step
from training.musubi.failures.explain import TAIL_BYTES, Failure
from training.musubi.failures.explain import explain as find_failure
from training.musubi.failures.log_text import decode


def explain(
    log: Annotated[Path, Parameter(name="LOG", help="The output of musubi-tuner.")],
    /,
    *,
    exit_code: Annotated[
        int | None,
        Parameter(help="The trainer's exit code, if known (-9 or 137 if it was killed)."),
    ] = None,
    json: Json = False,
) -> None:
    text = _end_of(log)
    failure = find_failure(text, exit_code)
    if json:
        print_json(_as_json(failure) if failure is not None else None)
    if failure is None:
        hint = "If the trainer was killed, add --exit-code."
        errors.print(f"{log} shows no failure. {hint}", markup=False)
    elif not json:
        _print(failure)
    if not json and (last := last_step(text)) is not None:
        console.print(f"The trainer reached step {last[0]} of {last[1]}.", markup=False)
    if failure is None:
        sys.exit(1)


def _end_of(log: Path) -> str:
    """Return the end of a log.

    Raises:
        NotFoundError: There is no such file.
        RequestError: The file is empty or not a text file.
    """
    require_regular(log)
    with log.open("rb") as file:
        first = file.read(2)
        size = file.seek(0, os.SEEK_END)
        # Start at an even offset, so that no two-byte character of a UTF-16 log is cut.
        file.seek(max(size - size % 2 - TAIL_BYTES, 0))
        text = decode(file.read(), first)
    if not text.strip():
        raise RequestError(f"{log} is empty.", "Give a log that is not empty.")
    if "\0" in text:
        raise RequestError(f"{log} is not a text file.", "Give the output of musubi-tuner.")
    return text


def _as_json(failure: Failure) -> dict[str, Any]:
    suggestion = asdict(failure.suggestion) if failure.suggestion is not None else None
    return {**asdict(failure), "suggestion": suggestion}


def _print(failure: Failure) -> None:
    lines = [f"{failure.code}: {failure.cause}", f"  {failure.fix}"]
    if failure.suggestion is not None:
        option = suggestion_option(failure.suggestion)
        how = f" ({option})" if option is not None else ""
        lines.append(f"  Suggestion: try again with {suggestion_words(failure.suggestion)}{how}.")
    if failure.retry:
        lines.append("  Try again without changes; that often works.")
    if failure.resumable:
        lines.append("  The run can be resumed from its last saved state.")
    console.print("\n".join(lines), markup=False)
