"""Leases as files on one machine, read and written under a file lock."""

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from training.ports import Grant

LEASE_SECONDS = 20.0
_RECORD_BYTES = 1024
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    holder: str
    attempt: int
    expires_at: float


class FileLeases:
    """One small file per lease; everyone sharing the folder must use the same `clock`."""

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
        folder.mkdir(parents=True, exist_ok=True)

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

    def _is_alive(self, entry: _Entry) -> bool:
        return self._clock() < entry.expires_at

    def _write(self, file: BinaryIO, grant: Grant) -> None:
        expires_at = self._clock() + self._seconds
        _replace(file, _Entry(grant.name, grant.holder, grant.attempt, expires_at))

    def _expire(self, file: BinaryIO, entry: _Entry) -> None:
        # The attempt number is kept, so that an older attempt cannot take the lease again.
        _replace(file, _Entry(entry.name, "", entry.attempt, 0.0))

    @contextmanager
    def _locked(self, name: str) -> Generator[BinaryIO]:
        file_name = hashlib.sha256(name.encode()).hexdigest()[:32]
        descriptor = os.open(self._folder / file_name, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _is_held_by(entry: _Entry | None, grant: Grant) -> bool:
    # An expired lease still belongs to its grant until somebody else takes it.
    return entry is not None and (entry.holder, entry.attempt) == (grant.holder, grant.attempt)


def _read(file: BinaryIO) -> _Entry | None:
    file.seek(0)
    data = file.read()
    if not data.strip():
        return None
    try:
        return _Entry(**json.loads(data))
    except (ValueError, TypeError):
        # An unreadable lease has no holder; the former one learns that when it renews.
        logger.warning("the lease file %s was damaged; the lease is free", file.name)
        return None


def _replace(file: BinaryIO, entry: _Entry) -> None:
    # Always the same size, in one write: a kill leaves either the old entry or the new one.
    os.pwrite(file.fileno(), json.dumps(asdict(entry)).encode().ljust(_RECORD_BYTES), 0)
