"""The local backend's queue of calls in SQLite: first in, first out, per device.

A running call holds a lock on its own file, taken by the worker before it starts the process and
inherited by the process. If the lock can be taken, the process is gone.
"""

import fcntl
import logging
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from training.ports import Call, CallState, CallStatus
from training.vocabulary import StageKey

logger = logging.getLogger(__name__)
_SCHEMA = """
create table if not exists calls (
    number integer primary key autoincrement,
    name text not null unique,
    guild text not null, run text not null, stage text not null, expert text,
    attempt integer not null, device text not null,
    status text not null default 'queued',
    pid integer
)
"""


@dataclass(frozen=True, slots=True)
class QueuedCall:
    """A call in the queue, with its number."""

    number: int
    call: Call
    pid: int | None = None


class LocalBackend:
    """The `Backend` of one machine; `wake` ensures that a worker service reads the queue."""

    def __init__(self, folder: Path, wake: Callable[[], None]) -> None:
        self._folder = folder
        self._wake = wake
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._create()
        except sqlite3.DatabaseError:
            # Its calls are found gone and submitted again, as after any other loss.
            file = self._folder / "queue.sqlite"
            logger.warning("the queue %s was damaged; a new one is started", file)
            file.rename(file.with_name(f"queue-damaged-{time.time_ns()}.sqlite"))
            self._create()

    def _create(self) -> None:
        with self.database() as database:
            database.execute("pragma journal_mode = wal")
            database.execute(_SCHEMA)
            # Numbers start at the current time, so that handles of an older queue stay invalid.
            database.execute(
                "insert into sqlite_sequence (name, seq) select 'calls', ?"
                " where not exists (select 1 from sqlite_sequence where name = 'calls')",
                (int(time.time()),),
            )

    def submit(self, call: Call) -> str:
        """Enqueue a call unless it is queued already; return its handle."""
        key = call.key
        with self.database() as database:
            database.execute(
                "insert or ignore into calls (name, guild, run, stage, expert, attempt, device)"
                " values (?, ?, ?, ?, ?, ?, ?)",
                (call.name, call.guild, call.run, key.stage, key.expert, call.attempt, call.device),
            )
            row = database.execute(
                "select number from calls where name = ?", (call.name,)
            ).fetchone()
        self._wake()
        return str(row["number"])

    def state(self, handle: str) -> CallState:
        """Return a call's state; a running call whose process is gone has ended."""
        with self.database() as database:
            row = _find(database, handle)
            if row is None:
                return CallState(CallStatus.GONE)
            if row["status"] == "queued":
                ahead = database.execute(
                    "select count(*) from calls where status = 'queued' and device = ?"
                    " and number < ?",
                    (row["device"], row["number"]),
                ).fetchone()[0]
                return CallState(CallStatus.QUEUED, position=ahead + 1)
        if row["status"] == "running" and self.is_alive(row["number"]):
            return CallState(CallStatus.RUNNING)
        return CallState(CallStatus.ENDED)

    def cancel(self, name: str) -> None:
        """Remove a queued call, or ask a running one's process to stop."""
        with self.database() as database:
            row = database.execute("select * from calls where name = ?", (name,)).fetchone()
            if row is None:
                return
            taken = database.execute(
                "update calls set status = 'ended' where number = ? and status = 'queued'",
                (row["number"],),
            ).rowcount
        if not taken and row["pid"] and self.is_alive(row["number"]):
            with suppress(ProcessLookupError):
                os.kill(row["pid"], signal.SIGTERM)

    def is_alive(self, number: int) -> bool:
        """Return whether a call's process still holds its lock."""
        with self.lock_file(number).open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def lock_file(self, number: int) -> Path:
        """Return the lock file of a call's process."""
        return self._folder / f"call-{number}.lock"

    def call(self, number: int) -> Call:
        """Return the call with that number.

        Raises:
            ValueError: There is no such call.
        """
        with self.database() as database:
            row = _find(database, str(number))
        if row is None:
            raise ValueError(f"no call {number} in the queue")
        return _queued_call(row).call

    def next_queued(self, device: str) -> QueuedCall | None:
        """Return the first queued call of a device."""
        with self.database() as database:
            row = database.execute(
                "select * from calls where status = 'queued' and device = ? order by number",
                (device,),
            ).fetchone()
        return _queued_call(row) if row else None

    def running(self) -> list[QueuedCall]:
        """Return the calls that were started and are not marked as ended."""
        with self.database() as database:
            rows = database.execute("select * from calls where status = 'running'").fetchall()
        return [_queued_call(row) for row in rows]

    def is_idle(self) -> bool:
        """Return whether nothing is queued or running."""
        with self.database() as database:
            row = database.execute(
                "select count(*) from calls where status in ('queued', 'running')"
            ).fetchone()
        return row[0] == 0

    def mark_running(self, number: int, pid: int) -> None:
        """Record the process of a started call."""
        self._set(number, "status = 'running', pid = ?", pid)

    def mark_ended(self, number: int) -> None:
        """Record that a call's process has ended."""
        self._set(number, "status = 'ended'")
        self.lock_file(number).unlink(missing_ok=True)

    @contextmanager
    def database(self) -> Generator[sqlite3.Connection]:
        """Open the database for one transaction."""
        connection = sqlite3.connect(self._folder / "queue.sqlite", timeout=30)
        connection.row_factory = sqlite3.Row
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def _set(self, number: int, assignment: str, *values: int) -> None:
        with self.database() as database:
            database.execute(
                f"update calls set {assignment} where number = ?",
                (*values, number),
            )


def _find(database: sqlite3.Connection, handle: str) -> sqlite3.Row | None:
    return database.execute("select * from calls where number = ?", (handle,)).fetchone()


def _queued_call(row: sqlite3.Row) -> QueuedCall:
    call = Call(
        guild=row["guild"],
        run=row["run"],
        key=StageKey(row["stage"], row["expert"]),
        attempt=row["attempt"],
        device=row["device"],
    )
    return QueuedCall(row["number"], call, row["pid"])
