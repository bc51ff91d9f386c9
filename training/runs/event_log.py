"""Reads and writes a run's events. Every attempt of every writer appends to a separate file."""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from training import store_keys
from training.errors import NotFoundError, TrainingError
from training.ports import Store, StoreChanges
from training.records import opened, read_record, sealed
from training.remedies import RemoveRun, ShowRuns
from training.runs.events import Event
from training.runs.spec import RunSpec, is_name
from training.runs.state import Run, fold
from training.store_keys import RunKeys
from training.wording import did_you_mean

logger = logging.getLogger(__name__)
_EVENT: TypeAdapter[Event] = TypeAdapter(
    Annotated[Event, Field(discriminator="kind")], config=ConfigDict(defer_build=True)
)
_FILE = re.compile(r"(?P<writer>.+)-(?P<attempt>\d+)\.jsonl")
ADVANCE = "advance"
REQUEST = "request"


class DamagedRunError(TrainingError):
    """A run's spec cannot be read."""


class Writer(BaseModel):
    """The writer of one event file: a stage's attempt, for example, or one call of `advance`."""

    model_config = ConfigDict(frozen=True)

    name: str
    attempt: int

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.attempt}.jsonl"


class RunLog:
    """The spec and the events of one run."""

    def __init__(self, store: Store, guild: str, run: str) -> None:
        self._store = store
        self.guild = guild
        self.run_name = run
        self.keys = RunKeys(guild, run)

    def spec(self) -> RunSpec:
        """Return the run's spec.

        Raises:
            NotFoundError: The guild has no run of that name.
            DamagedRunError: The spec and its copy are damaged.
        """
        if not is_name(self.run_name):
            raise self._unknown()
        try:
            return read_record(self._store, self.keys.spec, RunSpec)
        except FileNotFoundError as error:
            raise self._unknown() from error
        except ValueError as error:
            raise self._damaged() from error

    def load(self) -> Run:
        spec, found = self.spec(), self._sorted_lines()
        damaged = tuple(sorted({line.file_name for line in found if line.event is None}))
        run = fold(spec, (line.event for line in found if line.event is not None))
        return replace(run, damaged=damaged)

    def events(self) -> list[Event]:
        """Return all events in order: those of stages, then users' requests, then `advance`'s.

        The events of `advance` come last, because only they can be final, and events after a final
        one are ignored. Each group is ordered by attempt, then by line, never by time, because
        clocks differ. Damaged lines are left out.
        """
        return [line.event for line in self._sorted_lines() if line.event is not None]

    def lines(self, writer: Writer, events: Sequence[Event]) -> dict[str, bytes]:
        """Return the events as bytes to append, by the key of their file; {} if there are none."""
        lines = b"".join(map(_line, events))
        return {f"{self.keys.events}/{writer.file_name}": lines} if lines else {}

    def append(self, writer: Writer, event: Event) -> None:
        self._store.change(StoreChanges(appended=self.lines(writer, [event])))

    def append_alone(self, name: str, event: Event) -> None:
        """Write an event to a new, separate file, so that concurrent callers overwrite nothing.

        Raises:
            OSError: The event could not be stored.
        """
        line = _line(event)
        number = self.next_attempt(name)
        while not self._store.create(f"{self.keys.events}/{name}-{number}.jsonl", line):
            number += 1

    def next_attempt(self, name: str) -> int:
        """Return the first attempt number that the writer `name` has not used."""
        writers = map(_writer, self._store.names(self.keys.events))
        return max((w.attempt for w in writers if w is not None and w.name == name), default=0) + 1

    def _unknown(self) -> NotFoundError:
        near = did_you_mean(self.run_name, self._store.names(store_keys.runs(self.guild)))
        return NotFoundError(
            f"There is no run called {self.run_name[:80]!r} here.",
            near or "Look up the name in the list of runs.",
            ShowRuns(),
        )

    def _damaged(self) -> DamagedRunError:
        return DamagedRunError(
            f"The record of the run {self.run_name} is damaged and cannot be read.",
            f"The run's files are still in {self.keys.folder}. If you do not need them, remove the "
            "run.",
            RemoveRun(run=self.run_name),
        )

    def _sorted_lines(self) -> list["_Line"]:
        return sorted(self._lines(), key=lambda line: line.place)

    def _lines(self) -> Iterator["_Line"]:
        groups = {REQUEST: 1, ADVANCE: 2}
        for file_name, data in self._store.read_all(self.keys.events).items():
            writer = _writer(file_name)
            if writer is None:
                continue
            # Skip a last line without a newline: a crash cut it off.
            complete = data[: data.rfind(b"\n") + 1].splitlines()
            group = groups.get(writer.name, 0)
            for sequence, line in enumerate(complete):
                place = (group, writer.attempt, sequence, writer.name)
                yield _Line(place, file_name, self._event(line, file_name))

    def _event(self, line: bytes, file_name: str) -> Event | None:
        """Return the event in a line; None if the line is damaged."""
        try:
            return _EVENT.validate_json(opened(line))
        except ValueError:
            logger.debug("run %s: %s is damaged", self.run_name, file_name)
            return None


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of an event file; `event` is None if the line is damaged."""

    place: tuple[int, int, int, str]
    file_name: str
    event: Event | None


def _line(event: Event) -> bytes:
    return sealed(_EVENT.dump_json(event)) + b"\n"


def _writer(file_name: str) -> Writer | None:
    match = _FILE.fullmatch(file_name)
    return Writer(name=match["writer"], attempt=int(match["attempt"])) if match else None


def events_as_json(events: list[Event]) -> str:
    """Return the events as one indented JSON list."""
    return json.dumps([_EVENT.dump_python(event, mode="json") for event in events], indent=2)
