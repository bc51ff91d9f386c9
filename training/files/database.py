"""Runs transactions on a local SQLite file, and distinguishes a damaged file from other errors.

Only SQLite's errors "malformed" and "not a database" mean damage. A file that is locked,
unreachable or on a full disk is intact, and must stay where it is, because other processes still
use it.
"""

import errno
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

PATIENCE_SECONDS = 30.0
_TRIES = 8  # number of attempts if other processes keep replacing the file
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_ERRNO = {
    sqlite3.SQLITE_BUSY: errno.EBUSY,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
}


class DamagedDatabaseError(Exception):
    """The file is malformed; `identity` distinguishes it from a later file at the same path."""

    def __init__(self, path: Path, reason: str, identity: str | None) -> None:
        super().__init__(path, reason, identity)
        self.path, self.reason, self.identity = path, reason, identity

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


class Database:
    """A SQLite file that is opened for each transaction; the first `write` creates it.

    Every method raises `DamagedDatabaseError` if the file is malformed, and `OSError` if it cannot
    be used now.
    """

    def __init__(
        self, path: Path, schema: Sequence[str], *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self.path = path
        self._schema = schema
        self._patience_seconds = patience_seconds

    def read(self, work: Work[T], *, default: T) -> T:
        """Return the result of `work`, or `default` if nothing has been written yet."""

        def select() -> T:
            if self._identity() is None:
                return default
            return self._run(work, "rw")  # SQLite opens a write-protected file read-only

        return self._unless_replaced(select)

    def write(self, work: Work[T]) -> T:
        """Run `work` in one transaction and return its result."""

        def transaction(database: sqlite3.Connection) -> T:
            with database:
                database.execute("begin immediate")
                for statement in self._schema:
                    database.execute(statement)
                return work(database)

        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self._unless_replaced(lambda: self._run(transaction, "rwc"))

    def check(self) -> None:
        """Check the whole file, including the constraints of its schema."""

        def integrity(database: sqlite3.Connection) -> str:
            return str(database.execute("pragma integrity_check(1)").fetchone()[0])

        if (found := self.read(integrity, default="ok")) != "ok":
            raise self.damage(found)

    def damage(self, reason: str) -> DamagedDatabaseError:
        """Return the error to raise for content that this program cannot have written."""
        return DamagedDatabaseError(self.path, reason, self._identity())

    def is_still(self, damaged: DamagedDatabaseError) -> bool:
        """Return whether the file is still the damaged one, not a replacement."""
        return self._identity() == damaged.identity

    def remove(self, aside: Path | None = None) -> None:
        """Remove the file, or move it to `aside`; the next transaction creates a new one."""
        # Remove the journal too, or SQLite would apply it to the new file.
        self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
        if aside is None:
            self.path.unlink(missing_ok=True)
        else:
            self.path.rename(aside)

    def _unless_replaced(self, act: Callable[[], T]) -> T:
        """Return the result of `act`; repeat it if it failed because the file was replaced.

        SQLite reports a replaced file as an I/O error or as a read-only database.
        """
        for _ in range(_TRIES):
            before = self._file_number()
            try:
                return act()
            except OSError:
                if self._file_number() == before:
                    raise
        return act()

    def _file_number(self) -> int | None:
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return None

    def _run(self, work: Work[T], mode: str) -> T:
        identity = self._identity()
        address = f"{self.path.absolute().as_uri()}?mode={mode}"
        try:
            with closing(
                sqlite3.connect(
                    address, uri=True, timeout=self._patience_seconds, isolation_level=None
                )
            ) as database:
                database.row_factory = sqlite3.Row
                return work(database)
        except sqlite3.Error as error:
            if _is_damage(error):
                raise DamagedDatabaseError(self.path, str(error), identity) from error
            code = _ERRNO.get(_code(error), errno.EIO)
            raise OSError(code, str(error), str(self.path)) from error

    def _identity(self) -> str | None:
        """Return an id that changes if the file is replaced; None if it is missing or empty."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return f"{found.st_ino}/{found.st_mtime_ns}" if found.st_size else None


def _is_damage(error: sqlite3.Error) -> bool:
    # Text with flipped bits may not be valid UTF-8. Python's error about that has no SQLite error
    # code.
    return _code(error) in _DAMAGE or "Could not decode to UTF-8" in str(error)


def _code(error: sqlite3.Error) -> int:
    extended: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return extended & 0xFF
