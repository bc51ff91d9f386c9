"""A run's events as files: one per writer and attempt, appended by that writer only."""

import json
import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from training.errors import NotFoundError, TrainingError
from training.ports import Store
from training.remedies import ShowRuns, StartRun
from training.runs.events import Event
from training.runs.spec import RunSpec, is_name
from training.runs.state import Run, fold
from training.store_keys import RunKeys

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])
_FILE = re.compile(r"(?P<writer>.+)-(?P<attempt>\d+)\.jsonl")
ADVANCE = "advance"
REQUEST = "request"


class DamagedRunError(TrainingError):
    """A run's spec or events cannot be read."""


class Writer(BaseModel):
    """The writer of one event file."""

    model_config = ConfigDict(frozen=True)

    name: str
    attempt: int

    @property
    def file_name(self) -> str:
        """Return the name of the writer's file."""
        return f"{self.name}-{self.attempt}.jsonl"


class RunLog:
    """The spec and the events of one run."""

    def __init__(self, store: Store, guild: str, run: str) -> None:
        self._store = store
        self.guild = guild
        self.run_name = run
        self.keys = RunKeys(guild, run)

    def spec(self) -> RunSpec:
        """Return what was asked for.

        Raises:
            NotFoundError: The guild has no run of that name.
        """
        unknown = NotFoundError(
            f"There is no run called {self.run_name[:80]!r} here.",
            "Look up its name in the list of runs.",
            ShowRuns(),
        )
        if not is_name(self.run_name):
            raise unknown
        try:
            data = self._store.read(self.keys.spec)
        except FileNotFoundError as error:
            raise unknown from error
        try:
            return RunSpec.model_validate_json(data)
        except ValidationError as error:
            raise self._damaged() from error

    def load(self) -> Run:
        """Return the run folded from its events."""
        return fold(self.spec(), self.events())

    def events(self) -> list[Event]:
        """Return all events in order: stages first, then requests, then those of `advance`.

        Only `advance` writes final events, and nothing counts after a final event, so its files
        come last. Within each group the order is (attempt, sequence), never the clock.
        """
        found = sorted(self._lines(), key=lambda line: line[:4])
        return [event for *_, event in found]

    def append(self, writer: Writer, event: Event) -> None:
        """Append an event to the writer's file."""
        line = _EVENT.dump_json(event) + b"\n"
        self._store.append(f"{self._folder}/{writer.file_name}", line)

    def append_alone(self, name: str, event: Event) -> None:
        """Write an event to a new file; concurrent callers never overwrite each other.

        Raises:
            OSError: It could not be stored.
        """
        line = _EVENT.dump_json(event) + b"\n"
        number = self.next_attempt(name)
        while not self._store.create(f"{self._folder}/{name}-{number}.jsonl", line):
            number += 1

    def next_attempt(self, name: str) -> int:
        """Return the first attempt number that the writer `name` has not used."""
        return max((w.attempt for w in self._writers() if w.name == name), default=0) + 1

    @property
    def _folder(self) -> str:
        return self.keys.events

    def _damaged(self) -> DamagedRunError:
        return DamagedRunError(
            f"The record of the run {self.run_name} is damaged and cannot be read.",
            "Its checkpoints are still in its folder. Start another run.",
            StartRun(),
        )

    def _writers(self) -> Iterator[Writer]:
        found = (_writer(file_name) for file_name in self._store.names(self._folder))
        yield from (writer for writer in found if writer is not None)

    def _lines(self) -> Iterator[tuple[int, int, int, str, Event]]:
        groups = {REQUEST: 1, ADVANCE: 2}
        for file_name, data in self._store.read_all(self._folder).items():
            writer = _writer(file_name)
            if writer is None:
                continue
            # A line without its newline was cut off by a crash.
            complete = data[: data.rfind(b"\n") + 1].splitlines()
            group = groups.get(writer.name, 0)
            for sequence, line in enumerate(complete):
                try:
                    event = _EVENT.validate_json(line)
                except ValidationError as error:
                    raise self._damaged() from error
                yield group, writer.attempt, sequence, writer.name, event


def _writer(file_name: str) -> Writer | None:
    match = _FILE.fullmatch(file_name)
    return Writer(name=match["writer"], attempt=int(match["attempt"])) if match else None


def events_as_json(events: list[Event]) -> str:
    """Return the events as one indented JSON list."""
    return json.dumps([_EVENT.dump_python(event, mode="json") for event in events], indent=2)
