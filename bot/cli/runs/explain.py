"""`lorabot explain`: explain a failure from a musubi-tuner log."""

import os
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from bot.cli.output import console, errors, print_json
from bot.cli.parameters import Json
from bot.messages.remedy_text import suggestion_option, suggestion_words
from training.errors import NotFoundError, RequestError
from training.musubi.failures import TAIL_BYTES, Failure
from training.musubi.failures import explain as find_failure
from training.musubi.last_words import last_step

# By byte order mark: PowerShell redirects output as UTF-16.
_ENCODINGS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
# Colours and cursor movements.
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def explain(
    log: Annotated[Path, Parameter(name="LOG", help="The output of musubi-tuner.")],
    /,
    *,
    exit_code: Annotated[
        int | None, Parameter(help="Its exit code, if known; -9 or 137 if it was killed.")
    ] = None,
    json: Json = False,
) -> None:
    text = _end_of(log)
    failure = find_failure(text, exit_code)
    if json:
        print_json(_as_json(failure) if failure is not None else None)
    if failure is None:
        errors.print(f"{log} shows no failure. If it was killed, add --exit-code.", markup=False)
    elif not json:
        _print(failure)
    if not json and (last := last_step(text)) is not None:
        console.print(f"It came to step {last[0]} of {last[1]}.", markup=False)
    if failure is None:
        sys.exit(1)


def _end_of(log: Path) -> str:
    """Return the end of a log.

    Raises:
        NotFoundError: There is no such file.
        RequestError: It is empty, or not a text file.
    """
    if not log.exists():
        raise NotFoundError(f"There is no file {log}.", "Give the path of a log.")
    if not log.is_file():
        raise RequestError(f"{log} is not a file.", "Give the path of a log.")
    with log.open("rb") as file:
        encoding = _ENCODINGS.get(file.read(2), "utf-8")
        size = file.seek(0, os.SEEK_END)
        # TAIL_BYTES is even, so that no two-byte character is cut.
        file.seek(max(size - size % 2 - TAIL_BYTES, 0))
        text = file.read().decode(encoding, "replace").removeprefix("\ufeff")
    if not text.strip():
        raise RequestError(f"{log} is empty.", "Give the log of a run that printed something.")
    if "\0" in text:
        raise RequestError(f"{log} is not a text file.", "Give the output of musubi-tuner.")
    return _ESCAPES.sub("", text)


def _as_json(failure: Failure) -> dict[str, Any]:
    suggestion = asdict(failure.suggestion) if failure.suggestion is not None else None
    return {**asdict(failure), "suggestion": suggestion}


def _print(failure: Failure) -> None:
    lines = [f"{failure.code}: {failure.cause}", f"  {failure.fix}"]
    if failure.suggestion is not None:
        option = suggestion_option(failure.suggestion)
        how = f" ({option})" if option is not None else ""
        lines.append(f"  Suggestion: try again with {suggestion_words(failure.suggestion)}{how}.")
    if failure.resumable:
        lines.append("  The run can be resumed from its last saved state.")
    console.print("\n".join(lines), markup=False)
