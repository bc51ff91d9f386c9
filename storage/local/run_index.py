"""Summaries of ended runs in SQLite: a cache that can be rebuilt from the runs."""

import logging
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)
_SCHEMA = """
create table if not exists ended (
    guild text not null, run text not null, summary blob not null, primary key (guild, run)
)
"""


class SqliteRunIndex:
    """A `RunIndex` in one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._create()
        except sqlite3.DatabaseError:
            logger.warning("the index %s was damaged and is rebuilt from the runs", path)
            path.unlink()
            self._create()

    def get(self, guild: str, run: str) -> bytes | None:
        with self._database() as database:
            row = database.execute(
                "select summary from ended where guild = ? and run = ?", (guild, run)
            ).fetchone()
        return row[0] if row else None

    def put(self, guild: str, run: str, summary: bytes) -> None:
        with self._database() as database:
            database.execute("insert or replace into ended values (?, ?, ?)", (guild, run, summary))

    def clear(self) -> None:
        with self._database() as database:
            database.execute("delete from ended")

    def _create(self) -> None:
        with self._database() as database:
            database.execute(_SCHEMA)

    @contextmanager
    def _database(self) -> Generator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=30)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
