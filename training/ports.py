"""The ports of the domain: stores, live values, leases, claims, backends, engines."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Protocol

from training.catalogue.models import Model, WeightFile
from training.vocabulary import StageKey, Widths


def unwatched(_here_bytes: int) -> None:
    """Do nothing; pass this as `watch`, the progress callback, if no progress is to be shown."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a store and when it was last written."""

    key: str
    size_bytes: int
    written_at: datetime


class FileChangedError(ConnectionAbortedError):
    """A stored file was replaced or removed while it was being read."""


class FileReader(Protocol):
    """Reads a stored file as it was when the reader was made, never a later version of it.

    Attributes:
        state: Identifies the file and its version; it changes whenever the file does.
    """

    @property
    def size_bytes(self) -> int: ...

    @property
    def state(self) -> str: ...

    def read(self, start: int, size_bytes: int) -> bytes:
        """Return `size_bytes` from `start` on, or fewer at the end of the file.

        Raises:
            FileChangedError: The file was replaced or removed.
            OSError: The file cannot be read at the moment.
        """
        ...

    def open(self) -> BinaryIO | None:
        """Open the file. Return None if it must not be kept open; then use `read` instead.

        Raises:
            FileChangedError: The file was replaced or removed.
        """
        ...


NOTHING: Mapping[str, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreChanges:
    """Changes to a store that belong together; they take effect in the order of the fields.

    Attributes:
        kept: Keys of staged files and folders to store, as with `keep`.
        written: New contents by key, as with `write`.
        appended: Whole lines to append by key, as with `append`.
        deleted: Keys to delete, as with `delete`.
    """

    kept: Sequence[str] = ()
    written: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    appended: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    deleted: Sequence[str] = ()


class Store(Protocol):
    """Stores bytes by key. Keys are relative paths with `/` and without `..`.

    Writes are atomic: a reader sees either the old bytes or the new ones. Small records are read
    and written by key. Programs work on files: they read a stored file at `path`, and write a new
    file at `staging_path`, which `keep` then stores.

    Attributes:
        write_seconds: How long small records should wait to be stored together, if writes are slow;
            0 if they are fast.
    """

    write_seconds: float

    def read(self, key: str) -> bytes:
        """Return the bytes at `key`; raise `FileNotFoundError` if nothing is stored there."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Store `data` at `key`, replacing any older data."""
        ...

    def create(self, key: str, data: bytes, others: Mapping[str, bytes] = NOTHING) -> bool:
        """Store `data` at `key` if nothing is there; return whether this call stored it.

        `others` are further records by key. They are stored first, so they may be stored even if
        something turns out to be at `key` already.
        """
        ...

    def append(self, key: str, data: bytes) -> None:
        """Append whole lines to `key`; only one process may append to a key."""
        ...

    def exists(self, key: str) -> bool:
        """Return whether anything is stored at `key` or below it."""
        ...

    def names(self, prefix: str) -> list[str]:
        """Return the sorted names directly under `prefix`, folders and files alike."""
        ...

    def read_all(self, prefix: str) -> dict[str, bytes]:
        """Return the bytes of every file directly under `prefix`, by name.

        All append-only files are returned as they were at one moment, because their contents may
        depend on each other.
        """
        ...

    def put_tree(self, key: str, source: Path) -> bool:
        """Store the folder at `source` under `key` atomically, unless `key` exists already.

        Return whether this call stored the folder. The store may move `source` instead of
        copying it.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete `key`, if it exists, and everything below it, including staged files."""
        ...

    def walk(self, prefix: str) -> Iterator[StoredFile]:
        """Yield every file below `prefix`, at any depth."""
        ...

    def sweep(self, before: datetime) -> int:
        """Delete unfinished files older than `before`; return their size in bytes."""
        ...

    def fetch(self, key: str, watch: Callable[[int], None] = unwatched) -> Path:
        """Return the path of a local, read-only file with the content of `key`; it may be a copy.

        While it is being copied, `watch` is called with the number of bytes copied so far.

        Raises:
            FileNotFoundError: Nothing is stored there.
        """
        ...

    def reader(self, key: str) -> FileReader:
        """Return a reader of the file at `key`; unlike `fetch`, this need not copy the file.

        Raises:
            FileNotFoundError: Nothing is stored there.
            OSError: The file cannot be read at the moment.
        """
        ...

    def path(self, key: str) -> Path:
        """Return the local path at which programs find the file or folder stored at `key`."""
        ...

    def refresh(self, key: str) -> None:
        """Make changes by other processes visible at `path(key)`."""
        ...

    def staging_path(self, key: str) -> Path:
        """Return the local path at which to write a file that `keep` will store at `key`."""
        ...

    def keep(self, *keys: str) -> None:
        """Store the staged file or folder of each key durably.

        Keys without staged files are left unchanged.
        """
        ...

    def upload(self, *keys: str) -> None:
        """Store staged files as `keep` does, without disturbing programs that read stored files.

        The new files might not appear at their `path` until the next `refresh`.
        """
        ...

    def change(self, changes: StoreChanges) -> None:
        """Make changes in order, in few writes; a crash may lose the last changes."""
        ...


class LiveValues(Protocol):
    """Holds the latest value of each key, for display; values may be lost."""

    pause_seconds: float  # shortest time between two values of a key

    def publish(self, key: str, data: bytes) -> None: ...

    def read(self, key: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Grant:
    """Proof of holding a lease; a grant to a newer attempt invalidates those of older attempts."""

    name: str
    holder: str
    attempt: int


class Leases(Protocol):
    """Exclusive leases by name; a lease that is not renewed in time becomes free.

    Each call raises `OSError` if the leases are unreachable.
    """

    def acquire(self, name: str, *, holder: str, attempt: int = 1) -> Grant | None:
        """Return a grant, or None if another holder has the lease."""
        ...

    def renew(self, grant: Grant) -> bool:
        """Extend the lease; return False if it no longer belongs to this grant."""
        ...

    def release(self, grant: Grant) -> None:
        """Release the lease, unless it no longer belongs to this grant."""
        ...

    def revoke(self, name: str, *, attempt: int) -> None:
        """End the lease of a dead attempt, unless a newer attempt holds it."""
        ...


class Claims(Protocol):
    """Lets only one of several processes handle a task: the first that claims the task's name.

    Claims are never released, but they may expire after a day, as may notes on unfinished tasks.

    Every call raises `OSError` if the claims are unreachable.
    """

    def claim(self, name: str) -> bool:
        """Return True to exactly one caller per `name`."""
        ...

    def note(self, name: str, data: bytes) -> None:
        """Record that a task has begun; `data` describes the task, in case it is interrupted."""
        ...

    def forget(self, name: str) -> None:
        """Delete the note of a task that has ended; ignore a missing one."""
        ...

    def notes(self) -> list[bytes]:
        """Return the notes of all unfinished tasks, in any order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt of one stage, as submitted to a backend.

    `gpu` is the requested GPU of a stage that needs one; a backend with only one kind of GPU may
    ignore it.
    """

    guild: str
    run: str
    key: StageKey
    attempt: int
    device: str
    gpu: str | None = None

    @property
    def name(self) -> str:
        return call_name(self.guild, self.run, self.key, self.attempt)


def call_name(guild: str, run: str, key: StageKey, attempt: int) -> str:
    return f"{guild}/{run}/{key}/{attempt}"


class CallStatus(StrEnum):
    """The status of a call at the backend."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"  # its process or container has ended, with or without success
    GONE = "gone"  # the backend does not know it


@dataclass(frozen=True, slots=True)
class CallState:
    """A call's status and, while it is queued, its position (1 is next)."""

    status: CallStatus
    position: int | None = None


@dataclass(frozen=True, slots=True)
class GpuLine:
    """The number of calls that hold a GPU, and of calls that wait for one.

    At most `slots` calls may hold a GPU at once.
    """

    running: int
    waiting: int
    slots: int

    @property
    def next_place(self) -> int | None:
        """The place that a new call would get; None if it would not have to wait."""
        is_free = self.waiting == 0 and self.running < self.slots
        return None if is_free else self.waiting + 1


class Backend(Protocol):
    """Runs the stages' calls, on this machine or elsewhere."""

    def submit(self, call: Call, *, since: datetime | None = None) -> str:
        """Queue a call and return its handle; submitting it again returns the same handle.

        A call that the backend has forgotten is queued again. If the backend can, it gives the call
        its old place, as if it had been submitted at `since`.
        """
        ...

    def state(self, handle: str) -> CallState: ...

    def gpu_line(self) -> GpuLine: ...

    def obstacle(self) -> str | None:
        """Return why nothing can be started at the moment; None if no reason is known."""
        ...

    def cancel(self, name: str) -> None:
        """Remove a call from the queue or stop it; do nothing if it has ended or is unknown."""
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


class BusyError(ConnectionError):
    """A service still asked callers to wait after all retries; a later call should succeed."""


class Engine(Protocol):
    """Runs caching and training."""

    name: str
    version: str

    def command(self, script: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return the complete command line that runs one of musubi-tuner's scripts."""
        ...

    def environment(self) -> Mapping[str, str]:
        """Return the extra environment variables of the command."""
        ...

    def clip_reader(self) -> str:
        """Return the name and version of the library that decodes clips for the caches."""
        ...

    def modules(self, model: Model) -> Widths:
        """Return the modules that get a LoRA adapter, with their numbers of inputs and outputs."""
        ...

    def module_count(self, model: Model) -> int:
        """Return how many modules of the model get a LoRA adapter."""
        ...

    def extent(self, weight: WeightFile, target: Path) -> Extent:
        """Return a weight file's size and how much of it is at `target`.

        The size is 0 if the engine makes the file itself.
        """
        ...

    def obtain(
        self, model: Model, weight: WeightFile, target: Path, watch: Callable[[int], None]
    ) -> Obtained:
        """Write the complete, verified weight file to `target`.

        Resume an earlier download, if any. `watch` is called with the number of bytes downloaded so
        far; an exception that it raises aborts the call.
        """
        ...


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A finished run in an index; its `created_at` has a format that sorts by time."""

    name: str
    created_at: str
    summary: bytes
    model: str = ""
    state: str = ""
    requested_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Selects runs by model, state and who started them; None selects all."""

    model: str | None = None
    state: str | None = None
    requested_by: str | None = None


EVERY_RUN = RunFilter()


class RunIndex(Protocol):
    """Summaries of finished runs on this machine; they can be rebuilt from the run folders."""

    def names(self, guild: str, only: RunFilter = EVERY_RUN) -> set[str]: ...

    def newest(
        self, guild: str, most: int | None, is_wanted: Callable[[str], bool]
    ) -> list[tuple[str, bytes | None]]:
        """Return the names and summaries of the newest runs that `is_wanted` accepts, newest first.

        Return at most `most` runs, or all if `most` is None. The summary is None for a run whose
        stored summary is damaged.
        """
        ...

    def newest_of(self, models: Collection[str], most: int) -> list[bytes]:
        """Return the summaries of the newest runs of these models in all guilds, newest first.

        Damaged summaries are left out.
        """
        ...

    def put(self, guild: str, runs: Iterable[EndedRun]) -> None:
        """Add runs, all in one transaction.

        Raises:
            OSError: The index cannot be written.
        """
        ...

    def clear(self) -> None: ...
