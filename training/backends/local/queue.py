"""The local backend's queue of calls in SQLite: first in, first out, per device.

Every call has a lock file. The worker locks the file, and the process that it then starts inherits
the lock. So if another process can take the lock, the call's process has ended. The file also
describes the call, so that the running calls can be recorded again if a damaged queue has to be
replaced.
"""

import json
import logging
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar, get_args

from training.files.database import PATIENCE_SECONDS, DamagedDatabaseError, Database, Work
from training.files.locks import is_held, open_alone
from training.ports import Call, CallState, CallStatus, GpuLine
from training.vocabulary import ExpertName, StageKey, StageName

T = TypeVar("T")
logger = logging.getLogger(__name__)
_SCHEMA = (
    """
create table if not exists calls (
    number integer primary key autoincrement,
    name text not null unique,
    guild text not null, run text not null, stage text not null, expert text,
    attempt integer not null, device text not null check (device in ('cpu', 'gpu')),
    status text not null default 'queued' check (status in ('queued', 'running', 'ended')),
    pid integer
)
""",
    # Call numbers start at a random value, so that no call has the number of a call in a replaced
    # queue.
    """
insert into sqlite_sequence (name, seq) select 'calls', random() & 281474976710655
    where not exists (select 1 from sqlite_sequence where name = 'calls')
""",
)
_FACTS = ("name", "guild", "run", "stage", "expert", "attempt", "device", "pid")
_SEVERAL = 3  # how many times to replace a damaged queue before giving up


@dataclass(frozen=True, slots=True)
class QueuedCall:
    """A call in the queue, with its number."""

    number: int
    call: Call
    pid: int | None = None


class LocalBackend:
    """The `Backend` of one machine; `wake` starts a worker service unless one is running.

    The worker runs at most `gpu_slots` GPU calls at once.

    Only methods that change the queue write to the disk. Every method raises `OSError` if the queue
    cannot be used now. A damaged queue is replaced at the next change. Until then, `state` finds
    only calls whose processes are alive, and `gpu_line` counts none.
    """

    def __init__(
        self,
        folder: Path,
        wake: Callable[[], None],
        *,
        gpu_slots: int = 1,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._folder = folder
        self._wake = wake
        self._gpu_slots = gpu_slots
        self._database = Database(
            folder / "queue.sqlite", _SCHEMA, patience_seconds=patience_seconds
        )

    def submit(self, call: Call, *, since: datetime | None = None) -> str:  # noqa: ARG002
        """Add a call to the end of the queue.

        `since` is ignored: the queue does not lose calls one by one. If it is damaged, all waiting
        calls lose their places.
        """
        key = call.key

        def insert(database: sqlite3.Connection) -> int:
            database.execute(
                "insert or ignore into calls (name, guild, run, stage, expert, attempt, device)"
                " values (?, ?, ?, ?, ?, ?, ?)",
                (call.name, call.guild, call.run, key.stage, key.expert, call.attempt, call.device),
            )
            row = database.execute("select number from calls where name = ?", (call.name,))
            return row.fetchone()["number"]

        number = self._write(insert)
        self._wake()
        return str(number)

    def state(self, handle: str) -> CallState:
        """Return a call's state; a started call whose process is gone counts as ended."""

        def look(database: sqlite3.Connection) -> CallState | sqlite3.Row | None:
            row = _find(database, handle)
            if row is None or row["status"] != "queued":
                return row
            ahead = database.execute(
                "select count(*) from calls where status = 'queued' and device = ? and number < ?",
                (row["device"], row["number"]),
            ).fetchone()[0]
            return CallState(CallStatus.QUEUED, position=ahead + 1)

        found = self._read(look, None)
        if isinstance(found, CallState):
            return found
        if handle.isdecimal() and self.is_alive(int(handle)):
            return CallState(CallStatus.RUNNING)
        return CallState(CallStatus.GONE if found is None else CallStatus.ENDED)

    def gpu_line(self) -> GpuLine:
        def look(database: sqlite3.Connection) -> tuple[int, int]:
            counts = database.execute(
                "select status, count(*) from calls where device = 'gpu' group by status"
            )
            found: dict[str, int] = {row[0]: row[1] for row in counts}
            return found.get("running", 0), found.get("queued", 0)

        return GpuLine(*self._read(look, (0, 0)), self._gpu_slots)

    def obstacle(self) -> None:
        """Return None: only a lack of free slots can keep this machine from starting calls."""

    def cancel(self, name: str) -> None:
        def dequeue(database: sqlite3.Connection) -> sqlite3.Row | None:
            row = database.execute("select * from calls where name = ?", (name,)).fetchone()
            taken = database.execute(
                "update calls set status = 'ended' where name = ? and status = 'queued'", (name,)
            ).rowcount
            return None if taken else row

        row = self._write(dequeue)
        if row is not None and row["pid"] and self.is_alive(row["number"]):
            with suppress(ProcessLookupError):
                os.kill(row["pid"], signal.SIGTERM)

    def is_alive(self, number: int) -> bool:
        return is_held(self.lock_file(number))

    def lock_file(self, number: int) -> Path:
        return self._folder / f"call-{number}.lock"

    def call(self, number: int) -> Call:
        found = self._select("number = ?", str(number))
        if not found:
            raise ValueError(f"no call {number} in the queue")
        return found[0].call

    def next_queued(self, device: str) -> QueuedCall | None:
        found = self._select("status = 'queued' and device = ? order by number limit 1", device)
        return found[0] if found else None

    def running(self) -> list[QueuedCall]:
        """Return the calls that were started and are not marked as ended."""
        return self._select("status = 'running'")

    def is_idle(self) -> bool:
        return not self._select("status in ('queued', 'running') limit 1")

    def mark_running(self, number: int, pid: int | None) -> None:
        """Mark a call as started; if `pid` is None, the process records its own id later."""

        def start(database: sqlite3.Connection) -> sqlite3.Row | None:
            database.execute(
                "update calls set status = 'running', pid = coalesce(?, pid) where number = ?",
                (pid, number),
            )
            return _find(database, str(number))

        row = self._write(start)
        if row is not None:
            facts = json.dumps({name: row[name] for name in _FACTS})
            self.lock_file(number).write_text(facts, "utf-8")

    def mark_ended(self, number: int) -> None:
        self._write(
            lambda database: database.execute(
                "update calls set status = 'ended' where number = ?", (number,)
            )
        )
        self.lock_file(number).unlink(missing_ok=True)

    def check(self) -> None:
        """Replace the queue if it is damaged, and add the running calls that it lacks.

        Delete the lock files of calls that have ended.
        """
        try:
            self._database.check()
        except DamagedDatabaseError as damaged:
            self._start_anew(damaged)
        self._record_running()
        self._remove_old_locks()

    def _select(self, condition: str, *values: str) -> list[QueuedCall]:
        """Return the calls that match an SQL condition; if the queue is damaged, replace it."""

        def select(database: sqlite3.Connection) -> list[sqlite3.Row]:
            return database.execute(f"select * from calls where {condition}", values).fetchall()

        for _ in range(_SEVERAL):
            try:
                return [self._queued_call(row) for row in self._database.read(select, default=[])]
            except DamagedDatabaseError as damaged:
                self._start_anew(damaged)
        return []

    def _read(self, work: Work[T], default: T) -> T:
        try:
            return self._database.read(work, default=default)
        except DamagedDatabaseError as damaged:
            logger.warning("the queue cannot be read: %s", damaged)
            return default

    def _write(self, work: Work[T]) -> T:
        for _ in range(_SEVERAL):
            try:
                return self._database.write(work)
            except DamagedDatabaseError as damaged:
                self._start_anew(damaged)
        return self._database.write(work)

    def _start_anew(self, damaged: DamagedDatabaseError) -> None:
        """Replace a damaged queue with one that has only the running calls.

        Do nothing if another process has replaced it already. Waiting calls are lost, and `advance`
        submits them again.
        """
        # Only one process at a time may replace the queue.
        with open_alone(self._folder / "queue.lock"):
            if not self._database.is_still(damaged):
                return
            aside = self._folder / f"queue-damaged-{time.time_ns()}.sqlite"
            logger.warning("the queue is damaged (%s); it is kept as %s", damaged, aside.name)
            self._database.remove(aside)
            self._record_running()

    def _record_running(self) -> None:
        if alive := list(self._alive()):
            self._database.write(lambda database: database.executemany(_INSERT_RUNNING, alive))

    def _alive(self) -> Generator[dict[str, object]]:
        """Yield the columns of each call whose process is alive, read from its lock file."""
        for path in self._folder.glob("call-*.lock"):
            number = path.stem.removeprefix("call-")
            if number.isdecimal() and self.is_alive(int(number)):
                with suppress(OSError, ValueError):
                    facts = json.loads(path.read_text("utf-8"))
                    yield {"number": int(number), **{name: facts[name] for name in _FACTS}}

    def _remove_old_locks(self) -> None:
        """Delete the lock files of ended calls that a killed worker service left behind."""
        known = {row.number for row in self._select("status in ('queued', 'running')")}
        for path in self._folder.glob("call-*.lock"):
            number = path.stem.removeprefix("call-")
            if not number.isdecimal() or int(number) in known or self.is_alive(int(number)):
                continue
            path.unlink(missing_ok=True)

    def _queued_call(self, row: sqlite3.Row) -> QueuedCall:
        """Return the call that a row describes.

        Raises:
            DamagedDatabaseError: The row's name does not match its other columns.
        """
        if row["stage"] in get_args(StageName) and row["expert"] in (None, *get_args(ExpertName)):
            call = Call(
                guild=row["guild"],
                run=row["run"],
                key=StageKey(row["stage"], row["expert"]),
                attempt=row["attempt"],
                device=row["device"],
            )
            if call.name == row["name"]:
                return QueuedCall(row["number"], call, row["pid"])
        raise self._database.damage(f"call {row['number']} is not called {row['name']!r}")


_INSERT_RUNNING = f"""
insert or ignore into calls (number, status, {", ".join(_FACTS)})
    values (:number, 'running', {", ".join(f":{name}" for name in _FACTS)})
"""


def _find(database: sqlite3.Connection, handle: str) -> sqlite3.Row | None:
    return database.execute("select * from calls where number = ?", (handle,)).fetchone()
