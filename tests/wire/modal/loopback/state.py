"""State that outlives the control plane: small records in a SQLite file, contents as files."""

import sqlite3
from pathlib import Path


class State:
    """The records of each kind by key, and the folders of contents.

    Attributes:
        root: The state directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        # One thread alone uses it: the control plane's.
        self._records = sqlite3.connect(root / "records.db", isolation_level=None)
        self._records.execute("PRAGMA synchronous = OFF")
        self._records.execute(
            "CREATE TABLE IF NOT EXISTS records"
            " (kind TEXT, key BLOB, value BLOB, PRIMARY KEY (kind, key))"
        )

    def put(self, kind: str, key: str | bytes, value: bytes) -> None:
        """Store one record."""
        self._records.execute(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (kind, _key(key), value)
        )

    def delete(self, kind: str, key: str | bytes) -> None:
        """Forget one record, if there is one."""
        self._records.execute("DELETE FROM records WHERE kind = ? AND key = ?", (kind, _key(key)))

    def clear(self, kind: str) -> None:
        """Forget every record of a kind."""
        self._records.execute("DELETE FROM records WHERE kind = ?", (kind,))

    def items(self, kind: str) -> dict[bytes, bytes]:
        """Return the records of a kind in the order in which they were first stored."""
        rows = self._records.execute(
            "SELECT key, value FROM records WHERE kind = ? ORDER BY rowid", (kind,)
        )
        return {bytes(key): bytes(value) for key, value in rows}

    def folder(self, name: str) -> Path:
        """Return a folder of contents."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        """Let go of the file."""
        self._records.close()


def _key(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key
