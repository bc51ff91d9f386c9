"""Reads the events that a program reports to the stage that started it (see `progress`)."""

import os
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from training.runs.training_events import ProgressEvent

_EVENT: TypeAdapter[ProgressEvent] = TypeAdapter(
    Annotated[ProgressEvent, Field(discriminator="kind")]
)


def read_events(fd: int) -> Iterator[ProgressEvent]:
    """Yield the events that arrive at `fd`, until the program closes its end.

    Raises:
        ValueError: A line is not an event.
    """
    with os.fdopen(fd, "rb", closefd=False) as stream:
        for line in stream:
            try:
                yield _EVENT.validate_json(line)
            except ValidationError as error:
                raise ValueError(f"Not a progress event: {line[:200]!r}") from error
