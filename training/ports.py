"""The ports of the domain: stores, boards, leases, claims, backends, engines."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from training.catalogue.models import Model, WeightFile
from training.vocabulary import StageKey, Widths


def unwatched(_here_bytes: int) -> None:
    """Ignore the progress of a download."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a store and when it was last written."""

    key: str
    size_bytes: int
    written_at: datetime


class Store(Protocol):
    """Stores bytes by key: relative paths with `/`, without `..`.

    A write is atomic: a reader sees the old bytes or the new ones. Small records are read and
    written by key. Programs work on files: they read stored ones at `path`, write new ones to a
    `staging_path`, and `keep` stores those.
    """

    def read(self, key: str) -> bytes:
        """Return the bytes at `key`; raise `FileNotFoundError` if there are none."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Store `data` at `key`, replacing what was there."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Store `data` at `key` if nothing is there; return whether this call stored it."""
        ...

    def append(self, key: str, data: bytes) -> None:
        """Append whole lines to `key`; each key has one writer."""
        ...

    def exists(self, key: str) -> bool:
        """Return whether something is stored at `key` or under `key/`."""
        ...

    def names(self, prefix: str) -> list[str]:
        """Return the sorted names directly under `prefix`, folders and files alike."""
        ...

    def read_all(self, prefix: str) -> dict[str, bytes]:
        """Return the bytes of every file directly under `prefix`, by name."""
        ...

    def put_tree(self, key: str, source: Path) -> bool:
        """Store the folder at `source` under `key` atomically, unless something is there.

        Returns whether this call stored it; `source` may be moved.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete `key` and everything under it, staged files included; it may be missing."""
        ...

    def walk(self, prefix: str) -> Iterator[StoredFile]:
        """Yield every file below `prefix`, at any depth."""
        ...

    def sweep(self, before: datetime) -> int:
        """Delete unfinished files older than `before`; return their size in bytes."""
        ...

    def fetch(self, key: str, watch: Callable[[int], None] = unwatched) -> Path:
        """Return a read-only file with what is stored at `key`; it may be a copy.

        While it is copied, `watch` is called with the number of bytes copied so far.

        Raises:
            FileNotFoundError: Nothing is stored there.
        """
        ...

    def path(self, key: str) -> Path:
        """Return the local path of what is stored at `key`, for a stage's programs."""
        ...

    def refresh(self, key: str) -> None:
        """Make `path` see what others have stored at and around `key`."""
        ...

    def staging_path(self, key: str) -> Path:
        """Return a local path for making what `keep` will store at `key`."""
        ...

    def keep(self, *keys: str) -> None:
        """Store the staged file or folder of each key durably.

        Keys without staged files are left unchanged.
        """
        ...


class Board(Protocol):
    """Holds the latest value per key; values may be lost."""

    pause_seconds: float  # minimum time between two values

    def show(self, key: str, data: bytes) -> None:
        """Replace the value of `key`."""
        ...

    def read(self, key: str) -> bytes | None:
        """Return the latest value of `key`, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Grant:
    """Proof of holding a lease; a newer attempt's grant invalidates an older one's."""

    name: str
    holder: str
    attempt: int


class Leases(Protocol):
    """Exclusive leases by name; a lease not renewed in time is free again.

    Each call raises `OSError` if the leases are unreachable.
    """

    def acquire(self, name: str, *, holder: str, attempt: int = 1) -> Grant | None:
        """Return a grant, or None if another holder has the lease."""
        ...

    def renew(self, grant: Grant) -> bool:
        """Extend the lease; return False if it is no longer this grant's."""
        ...

    def release(self, grant: Grant) -> None:
        """Release the lease; does nothing if it is no longer this grant's."""
        ...

    def revoke(self, name: str, *, attempt: int) -> None:
        """End a dead attempt's lease; a newer attempt's stays."""
        ...


class Claims(Protocol):
    """Lets one of several processes handle something: the first to claim it.

    Claims are never released; they may expire after a day.
    """

    def claim(self, name: str) -> bool:
        """Return True to exactly one caller per `name`.

        Raises:
            OSError: The claims are unreachable.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt of one stage, as submitted to a backend.

    `gpu` is the GPU that the run asked for, for a stage that holds one; a backend with one kind
    of GPU may ignore it.
    """

    guild: str
    run: str
    key: StageKey
    attempt: int
    device: str
    gpu: str | None = None

    @property
    def name(self) -> str:
        """Return a name that no other call has."""
        return call_name(self.guild, self.run, self.key, self.attempt)


def call_name(guild: str, run: str, key: StageKey, attempt: int) -> str:
    """Return the name of one attempt of one stage."""
    return f"{guild}/{run}/{key}/{attempt}"


class CallStatus(StrEnum):
    """The status of a call at the backend."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"  # its process or container has ended, with or without success
    GONE = "gone"  # the backend does not know it


@dataclass(frozen=True, slots=True)
class CallState:
    """A call's status and, while queued, its position (1 is next)."""

    status: CallStatus
    position: int | None = None


class Backend(Protocol):
    """Where stages execute."""

    def submit(self, call: Call) -> str:
        """Queue a call and return its handle; the same call again returns the same handle."""
        ...

    def state(self, handle: str) -> CallState:
        """Return the state of a call."""
        ...

    def cancel(self, name: str) -> None:
        """Dequeue or stop a call; it may have ended or never been submitted."""
        ...


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of a file to fetch, and how much of it is already here."""

    size_bytes: int
    here_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Obtained:
    """A weight file's revision and the hash of its bytes."""

    revision: str
    sha256: str


class Engine(Protocol):
    """Runs caching and training."""

    name: str
    version: str

    def command(self, script: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return the complete command line that runs one of musubi's scripts."""
        ...

    def environment(self) -> Mapping[str, str]:
        """Return the extra environment variables of the command."""
        ...

    def modules(self, model: Model) -> Widths:
        """Return the modules that carry an adapter, with their widths."""
        ...

    def module_count(self, model: Model) -> int:
        """Return how many modules of the model carry an adapter."""
        ...

    def extent(self, weight: WeightFile, target: Path) -> Extent:
        """Return the size of a weight file; 0 for files made locally."""
        ...

    def obtain(
        self, model: Model, weight: WeightFile, target: Path, watch: Callable[[int], None]
    ) -> Obtained:
        """Write the complete, verified weight file to `target`.

        Resumes an earlier download. `watch` is called with the number of bytes so far; an
        exception that it raises aborts the call.
        """
        ...


class RunIndex(Protocol):
    """Summaries of ended runs on this machine; can be rebuilt from the run folders."""

    def get(self, guild: str, run: str) -> bytes | None:
        """Return the summary of an ended run, or None."""
        ...

    def put(self, guild: str, run: str, summary: bytes) -> None:
        """Store the summary of an ended run."""
        ...

    def clear(self) -> None:
        """Delete all summaries."""
        ...
