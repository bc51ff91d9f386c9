"""Stores the files, records and events of one attempt of a stage, in as few writes as possible."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from training.files.disk_space import RETRY_SECONDS, is_full, when_room
from training.pipeline.runtime import Runtime
from training.ports import Call, Grant, StoreChanges
from training.runs.event_log import RunLog, Writer
from training.runs.events import StageBody, StageEvent

logger = logging.getLogger(__name__)


class StageInterruptedError(Exception):
    """Something outside ended the attempt, such as a stop request; the next attempt may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Results of a stage that are stored in one write.

    Attributes:
        kept: Keys of staged files.
        records: Contents of small files, by key.
        events: Events to add to the run's log.
        deleted: Keys to delete after everything else is stored.
    """

    kept: Sequence[str] = ()
    records: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    events: Sequence[StageBody] = ()
    deleted: Sequence[str] = ()

    def then(self, later: "Made") -> "Made":
        """Return the contents of this and of `later` in one `Made`."""
        return Made(
            kept=tuple(dict.fromkeys((*self.kept, *later.kept))),
            records={**self.records, **later.records},
            events=(*self.events, *later.events),
            deleted=(*self.deleted, *later.deleted),
        )


_NOTHING = Made()


def stage_lines(log: RunLog, events: Sequence[StageEvent]) -> dict[str, bytes]:
    """Return the events as bytes to append, by the key of their file; {} if there are none."""
    if not events:
        return {}
    return log.lines(Writer(name=str(events[0].key), attempt=events[0].attempt), events)


class StageWrites:
    """Writes the results of one attempt while it holds the stage's lease.

    Results passed to `later` are stored together with the next events, at the latest after
    `Store.write_seconds`; if that is 0, they are stored at once. If the store is full, a write
    waits for room, for `Runtime.room_seconds` at most.
    """

    def __init__(
        self, runtime: Runtime, log: RunLog, call: Call, grant: Grant, stopping: threading.Event
    ) -> None:
        self._runtime, self._log, self._grant = runtime, log, grant
        self._key, self._attempt = call.key, call.attempt
        self._stopping = stopping
        self._lock = threading.RLock()
        self._waiting = _NOTHING
        self._events: list[StageEvent] = []
        self._due_at = float("inf")
        self._timer: threading.Timer | None = None
        self._trouble = ""

    def store(self, made: Made) -> None:
        """Store `made` now. If it has events, also store everything that is waiting.

        Raises:
            StageInterruptedError: Another attempt holds the lease.
            OSError: `made` could not be stored; results that were already waiting are kept.
        """
        self.when_room(lambda: self._store(made))

    def when_room(self, write: Callable[[], None]) -> None:
        """Call `write`; while the disk is full, repeat it, for at most `Runtime.room_seconds`."""
        patience_seconds = self._runtime.room_seconds
        when_room(write, patience_seconds=patience_seconds, pause=self._stopping.wait)

    def _store(self, made: Made) -> None:
        with self._lock:
            if made.events:
                self._change(self._waiting.then(made), [*self._events, *self._told(made)])
                self.forget()
            else:
                self._change(made, [])

    def _told(self, made: Made) -> list[StageEvent]:
        """Return `made.events` with the current time and this attempt's stage and number."""
        at, key, attempt = self._runtime.clock(), self._key, self._attempt
        return [StageEvent(at=at, key=key, attempt=attempt, body=body) for body in made.events]

    def _change(self, made: Made, events: Sequence[StageEvent]) -> None:
        if not self._runtime.leases.renew(self._grant):
            self._stopping.set()
            raise StageInterruptedError("another attempt has taken over")
        self._runtime.store.change(
            StoreChanges(
                kept=made.kept,
                written=made.records,
                appended=stage_lines(self._log, events),
                deleted=made.deleted,
            )
        )

    def later(self, made: Made, share: float = 1.0) -> None:
        """Store `made` with the next write, at the latest after `share * Store.write_seconds`.

        If the store is full, return at once and store `made` as soon as there is room.
        """
        seconds = self._runtime.store.write_seconds * share
        if seconds <= 0:
            try:
                self._store(made)
            except OSError as error:
                if not is_full(error) or not self._runtime.room_seconds:
                    raise
                self._note_trouble(error)
                seconds = RETRY_SECONDS
            else:
                return
        with self._lock:
            self._waiting = self._waiting.then(made)
            self._events += self._told(made)
            self._wake_after(seconds)

    def forget(self) -> None:
        """Discard waiting results: they have been stored, or must not be stored any more."""
        with self._lock:
            self._waiting, self._events, self._due_at = _NOTHING, [], float("inf")
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _wake_after(self, seconds: float) -> None:
        if monotonic() + seconds >= self._due_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_at = monotonic() + seconds
        self._timer = threading.Timer(seconds, self._store_waiting)
        self._timer.daemon = True
        self._timer.start()

    def _store_waiting(self) -> None:
        with self._lock:
            if self._waiting == _NOTHING:
                return
            self._due_at = float("inf")
            try:
                self._change(self._waiting, self._events)
                self.forget()
            except StageInterruptedError:
                self.forget()
            except OSError as error:
                self._note_trouble(error)
                self._wake_after(max(self._runtime.store.write_seconds, RETRY_SECONDS))

    def _note_trouble(self, error: OSError) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            run = self._log.run_name
            logger.warning("run %s: events of %s are not stored yet: %s", run, self._key, error)
