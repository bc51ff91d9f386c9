"""The stage's end of the progress protocol; validates every line."""

import os
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from training.runs.training_events import ProgressEvent

_EVENT: TypeAdapter[ProgressEvent] = TypeAdapter(
    Annotated[ProgressEvent, Field(discriminator="kind")]
)


def parse_line(line: bytes) -> ProgressEvent:
    """Parse one line.

    Raises:
        ValueError: The line is not an event of this protocol.
    """
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        raise ValueError(f"Not a progress event: {line[:200]!r}") from error


def read_events(fd: int) -> Iterator[ProgressEvent]:
    """Yield events from `fd` until the other end is closed.

    Raises:
        ValueError: A line is not an event.
    """
    with os.fdopen(fd, "rb", closefd=False) as stream:
        for line in stream:
            yield parse_line(line)
