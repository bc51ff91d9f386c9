"""Leases as files on one machine, read and written under a file lock."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from storage.expiry import is_running
from training.files.locks import open_alone
from training.ports import Grant

LEASE_SECONDS = 20.0
_RECORD_BYTES = 1024
_KEPT_SECONDS = 7 * 24 * 60 * 60
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    holder: str
    attempt: int
    expires_at: float


class FileLeases:
    """One small file per lease; all processes that share the folder must use the same `clock`."""

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._seconds = seconds
        self._clock = clock

    def acquire(self, name: str, *, holder: str, attempt: int = 1) -> Grant | None:
        with self._locked(name) as file:
            entry = _read(file)
            if entry is not None and entry.holder != holder and self._is_alive(entry):
                return None
            if entry is not None and entry.attempt > attempt:
                return None
            grant = Grant(name, holder, attempt)
            self._write(file, grant)
            return grant

    def renew(self, grant: Grant) -> bool:
        with self._locked(grant.name) as file:
            if not _is_held_by(_read(file), grant):
                return False
            self._write(file, grant)
            return True

    def release(self, grant: Grant) -> None:
        with self._locked(grant.name) as file:
            entry = _read(file)
            if entry is not None and _is_held_by(entry, grant):
                self._expire(file, entry)

    def revoke(self, name: str, *, attempt: int) -> None:
        with self._locked(name) as file:
            entry = _read(file)
            if entry is not None and entry.attempt <= attempt:
                self._expire(file, entry)

    def remove_old(self) -> None:
        """Delete leases that nobody has held in the last 7 days: no attempt runs that long."""
        oldest = self._clock() - _KEPT_SECONDS
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    with open_alone(path) as file:
                        if os.fstat(file.fileno()).st_mtime < oldest:
                            path.unlink()

    def _is_alive(self, entry: _Entry) -> bool:
        now = self._clock()
        return is_running(entry.expires_at, self._seconds, before=now, after=now)

    def _write(self, file: BinaryIO, grant: Grant) -> None:
        expires_at = self._clock() + self._seconds
        _replace(file, _Entry(grant.name, grant.holder, grant.attempt, expires_at))

    def _expire(self, file: BinaryIO, entry: _Entry) -> None:
        # Keep the attempt number, so that an older attempt cannot take the lease again.
        _replace(file, _Entry(entry.name, "", entry.attempt, 0.0))

    @contextmanager
    def _locked(self, name: str) -> Generator[BinaryIO]:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / hashlib.sha256(name.encode()).hexdigest()[:32]
        while True:
            with open_alone(path) as file:
                # If the file was deleted while this process waited for it, open the new one.
                if _is_at(path, file):
                    yield file
                    return


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _is_held_by(entry: _Entry | None, grant: Grant) -> bool:
    # An expired lease still belongs to its last holder until somebody else takes it.
    return entry is not None and (entry.holder, entry.attempt) == (grant.holder, grant.attempt)


def _read(file: BinaryIO) -> _Entry | None:
    file.seek(0)
    data = file.read()
    if not data.strip():
        return None
    try:
        return _Entry(**json.loads(data))
    except (ValueError, TypeError):
        # Treat an unreadable lease as free. If somebody holds it, their next renewal fails.
        logger.warning("the lease file %s was damaged; the lease is free", file.name)
        return None


def _replace(file: BinaryIO, entry: _Entry) -> None:
    # Always write the same number of bytes in one call, so that a kill leaves either the old entry
    # or the new one.
    file.seek(0)
    file.write(json.dumps(asdict(entry)).encode().ljust(_RECORD_BYTES))
