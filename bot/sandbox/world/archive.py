"""Persistence: JSON records in one SQLite file."""

import json
import secrets
import sqlite3
from pathlib import Path
from typing import Literal

from bot.sandbox.wire import Json
from training.errors import TrainingError

Kind = Literal["user", "guild", "channel", "message", "command", "file"]


class SandboxError(TrainingError):
    """The sandbox cannot start."""


class WorldArchive:
    """Records by kind and id; each write is committed before the call returns."""

    def __init__(self, home: Path) -> None:
        # Only the owner may read the folder, because it holds the bot's token.
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.files = home / "attachments"
        self.files.mkdir(exist_ok=True)
        self._db = sqlite3.connect(home / "sandbox.sqlite", isolation_level=None, timeout=0.2)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise SandboxError(
                f"Cannot use the folder {home}: {error}.",
                "Stop the other sandbox that uses it, or choose another folder.",
            ) from error

    def _prepare(self) -> None:
        # Locked until `close`: two sandboxes in one folder would issue the same ids.
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("BEGIN EXCLUSIVE")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS record "
            "(kind TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, id))"
        )
        self._db.execute("COMMIT")

    def put(self, kind: Kind, record: Json) -> None:
        """Store `record` under its own `id`."""
        self._db.execute(
            "INSERT OR REPLACE INTO record VALUES (?, ?, ?)",
            (kind, record["id"], json.dumps(record)),
        )

    def delete(self, kind: Kind, record_id: str) -> None:
        self._db.execute("DELETE FROM record WHERE kind = ? AND id = ?", (kind, record_id))

    def all(self, kind: Kind) -> dict[str, Json]:
        """Return all records of a kind by id, oldest first."""
        rows = self._db.execute("SELECT id, body FROM record WHERE kind = ?", (kind,))
        found = {str(row[0]): json.loads(row[1]) for row in rows}
        return dict(sorted(found.items(), key=lambda item: int(item[0])))

    def newest_id(self) -> int:
        """Return the largest stored id; new ids must exceed it."""
        row = self._db.execute("SELECT MAX(CAST(id AS INTEGER)) FROM record").fetchone()
        return int(row[0] or 0)

    def token(self, name: str) -> str:
        """Return a random secret, created once per home folder."""
        row = self._db.execute(
            "SELECT body FROM record WHERE kind = 'token' AND id = ?", (name,)
        ).fetchone()
        if row:
            return str(row[0])
        value = secrets.token_urlsafe(24)
        self._db.execute("INSERT INTO record VALUES ('token', ?, ?)", (name, value))
        return value

    def close(self) -> None:
        self._db.close()
