"""Keeps summaries of finished runs in SQLite, as a cache that can be rebuilt from the runs."""

import errno
import logging
import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from training.files.database import DamagedDatabaseError, Database
from training.ports import EVERY_RUN, EndedRun, RunFilter

T = TypeVar("T")
logger = logging.getLogger(__name__)
_SCHEMA = (
    """
create table if not exists listed_runs (
    guild text not null, run text not null, created_at text not null, summary blob not null,
    model text not null, state text not null, requested_by text not null,
    primary key (guild, run)
)
""",
    "create index if not exists newest_runs on listed_runs (guild, created_at, run)",
    # Tables of earlier versions, which did not record when runs were created, or the values by
    # which listings are filtered.
    "drop table if exists ended",
    "drop table if exists ended_runs",
)
# Do not wait long for the index, because runs can be listed without it.
_PATIENCE_SECONDS = 5.0
_SEAL_BYTES = 4


class SqliteRunIndex:
    """A `RunIndex` in one SQLite file.

    The index only makes listings faster. So if the file cannot be read, the index acts as if it
    were empty; if the file is damaged, a new one replaces it.
    """

    def __init__(self, path: Path, *, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._database = Database(path, _SCHEMA, patience_seconds=patience_seconds)

    def names(self, guild: str, only: RunFilter = EVERY_RUN) -> set[str]:
        facts = {"model": only.model, "state": only.state, "requested_by": only.requested_by}
        given = {name: value for name, value in facts.items() if value is not None}
        statement = "select run from listed_runs where guild = ?"
        statement += "".join(f" and {name} = ?" for name in given)

        def select(database: sqlite3.Connection) -> set[str]:
            return set(_runs(database, statement, guild, *given.values()))

        return self._read(select, default=set[str]())

    def newest(
        self, guild: str, most: int | None, is_wanted: Callable[[str], bool]
    ) -> list[tuple[str, bytes | None]]:
        def select(database: sqlite3.Connection) -> list[tuple[str, bytes | None]]:
            ordered = "select run from listed_runs where guild = ? order by created_at desc"
            wanted = filter(is_wanted, _runs(database, ordered, guild))
            # Read only the summaries that are wanted, because they are much longer than names.
            return [(run, summary(database, run)) for run in islice(wanted, most)]

        def summary(database: sqlite3.Connection, run: str) -> bytes | None:
            statement = "select summary from listed_runs where guild = ? and run = ?"
            found = database.execute(statement, (guild, run)).fetchone()
            return None if found is None else _opened(guild, run, found["summary"])

        return self._read(select, default=[])

    def newest_of(self, models: Collection[str], most: int) -> list[bytes]:
        def select(database: sqlite3.Connection) -> list[bytes]:
            wanted = ", ".join("?" * len(models))
            statement = f"select guild, run, summary from listed_runs where model in ({wanted}) "
            rows = database.execute(
                f"{statement} order by created_at desc limit ?", (*models, most)
            )
            found = [_opened(row["guild"], row["run"], row["summary"]) for row in rows]
            return [summary for summary in found if summary is not None]

        return self._read(select, default=[])

    def put(self, guild: str, runs: Iterable[EndedRun]) -> None:
        values = [
            (
                *(guild, one.name, one.created_at, _sealed(guild, one.name, one.summary)),
                *(one.model, one.state, one.requested_by),
            )
            for one in runs
        ]

        def insert(database: sqlite3.Connection) -> None:
            statement = "insert or replace into listed_runs values (?, ?, ?, ?, ?, ?, ?)"
            database.executemany(statement, values)

        self._healed(lambda: self._database.write(insert))

    def clear(self) -> None:
        """Delete all summaries.

        Raises:
            OSError: The index cannot be written.
        """

        def delete(database: sqlite3.Connection) -> None:
            database.execute("delete from listed_runs")

        self._healed(lambda: self._database.write(delete))

    def _read(self, select: Callable[[sqlite3.Connection], T], *, default: T) -> T:
        try:
            return self._healed(lambda: self._database.read(select, default=default))
        except OSError as error:
            logger.warning("the index cannot be read: %s", error)
            return default

    def _healed(self, work: Callable[[], T]) -> T:
        """Return the result of `work`; if the file is damaged, remove it and repeat `work`."""
        try:
            return work()
        except DamagedDatabaseError as damaged:
            logger.warning("the index is damaged (%s) and is rebuilt from the runs", damaged)
            if self._database.is_still(damaged):
                self._database.remove()
        try:
            return work()
        except DamagedDatabaseError as damaged:
            raise OSError(errno.EIO, damaged.reason, str(damaged.path)) from damaged


def _runs(database: sqlite3.Connection, statement: str, *values: str) -> Iterator[str]:
    cursor = database.cursor()
    cursor.row_factory = None  # plain tuples are faster, and there may be many runs
    return (row[0] for row in cursor.execute(statement, values))


def _sealed(guild: str, run: str, summary: bytes) -> bytes:
    """Return a summary with a checksum, because SQLite does not notice flipped bits in a value."""
    checksum = zlib.crc32(summary, zlib.crc32(f"{guild}/{run}".encode()))
    return checksum.to_bytes(_SEAL_BYTES, "big") + summary


def _opened(guild: str, run: str, sealed: bytes) -> bytes | None:
    """Return a sealed summary without its checksum; None if it was altered."""
    summary = sealed[_SEAL_BYTES:]
    return summary if sealed == _sealed(guild, run, summary) else None
