"""What the domain needs from outside: where bytes live, who may work, where stages execute."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from training.catalogue.models import Model, WeightFile
from training.vocabulary import StageKey, Widths


def unwatched(_here_bytes: int) -> None:
    """Let nobody know how much of a file is there."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a store, with when it was last written."""

    key: str
    size_bytes: int
    written_at: datetime


class Store(Protocol):
    """Where bytes live, by key: relative paths with `/`, without `..`.

    A write is all or nothing: a reader sees the old bytes or the new ones. Small records are read
    and written by key. What programs read and make lies in files: they find what is stored at
    `path`, make what is new in a `staging_path`, and `keep` stores it for all.
    """

    def read(self, key: str) -> bytes:
        """Return the bytes at `key`; `FileNotFoundError` when there are none."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Store `data` at `key`, replacing what was there."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Store `data` at `key` if nothing is there; return whether this call stored it."""
        ...

    def append(self, key: str, data: bytes) -> None:
        """Add whole lines at the end of `key`; each key has one writer."""
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
        """Store the folder at `source` under `key` whole, unless something is there.

        Returns whether this call stored it; `source` may be moved.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove `key` and all under it, in its workshop too; nothing there is fine."""
        ...

    def walk(self, prefix: str) -> Iterator[StoredFile]:
        """Yield every file below `prefix`, at any depth."""
        ...

    def sweep(self, before: datetime) -> int:
        """Remove what writers left unfinished before a time, and return how many bytes it had."""
        ...

    def fetch(self, key: str, watch: Callable[[int], None] = unwatched) -> Path:
        """Return a file with what is stored at `key`, to be read only; it may be a copy.

        Where it must be copied first, `watch` is told how many bytes are there by now.

        Raises:
            FileNotFoundError: Nothing is stored there.
        """
        ...

    def path(self, key: str) -> Path:
        """Return where a stage's own programs find what is stored at `key`."""
        ...

    def refresh(self, key: str) -> None:
        """Let `path` lead to what others have kept by now at `key` and around it."""
        ...

    def staging_path(self, key: str) -> Path:
        """Return where a program of this machine makes what is to be kept at `key`."""
        ...

    def keep(self, *keys: str) -> None:
        """Store the file or folder in the workshop of each key, durably and for all to see.

        What is in no workshop is left as it is stored.
        """
        ...


class Board(Protocol):
    """The newest value of each key; it may be lost, and the next one replaces it."""

    pause_seconds: float  # how long a value is to stay before the next one

    def show(self, key: str, data: bytes) -> None:
        """Replace the value of `key`."""
        ...

    def read(self, key: str) -> bytes | None:
        """Return the newest value of `key`, None when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Grant:
    """Proof of holding a lease; an older attempt's grant stops being valid, never the reverse."""

    name: str
    holder: str
    attempt: int


class Leases(Protocol):
    """Who may work on what; a lease not renewed in time is free again.

    Each call raises `OSError` when the leases cannot be reached.
    """

    def acquire(self, name: str, *, holder: str, attempt: int = 1) -> Grant | None:
        """Return a grant, or None while another holder's lease lives."""
        ...

    def renew(self, grant: Grant) -> bool:
        """Extend the lease; return False when it is no longer this grant's."""
        ...

    def release(self, grant: Grant) -> None:
        """Give the lease back; one that is no longer this grant's stays as it is."""
        ...

    def revoke(self, name: str, *, attempt: int) -> None:
        """End the lease of an attempt that is known to be dead; a newer attempt's stays."""
        ...


class Claims(Protocol):
    """What several hear of and one must do: whoever claims it first does it.

    A claim is never given back; it may be forgotten after a day.
    """

    def claim(self, name: str) -> bool:
        """Return True to exactly one of all who ask for `name`.

        Raises:
            OSError: The claims cannot be reached.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt of one stage, as it is handed to a backend.

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
    """Where a call stands at the backend."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"  # its process or container is over, whatever it left behind
    GONE = "gone"  # the backend does not know it


@dataclass(frozen=True, slots=True)
class CallState:
    """A call's status and, while it is queued, its place in line (1 is next)."""

    status: CallStatus
    position: int | None = None


class Backend(Protocol):
    """Where stages execute."""

    def submit(self, call: Call) -> str:
        """Take a call and return its handle; the same call twice gives the same handle."""
        ...

    def state(self, handle: str) -> CallState:
        """Return how the call stands."""
        ...

    def cancel(self, name: str) -> None:
        """Take a call out of line, or stop it; one that is over or was never submitted is fine."""
        ...


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of a file that is to be fetched, and how much of it is here already."""

    size_bytes: int
    here_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Obtained:
    """Where a weight file came from, and the hash that its bytes were found to have."""

    revision: str
    sha256: str


class Engine(Protocol):
    """What does the caching and the training."""

    name: str
    version: str

    def command(self, script: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return the complete command line that runs one of musubi's scripts."""
        ...

    def environment(self) -> Mapping[str, str]:
        """Return what the command's environment needs beyond the stage's own."""
        ...

    def modules(self, model: Model) -> Widths:
        """Return the modules that carry an adapter, with their widths."""
        ...

    def module_count(self, model: Model) -> int:
        """Return how many modules of the model carry an adapter."""
        ...

    def extent(self, weight: WeightFile, target: Path) -> Extent:
        """Return how large a weight file is; 0 bytes for what is made here, not fetched."""
        ...

    def obtain(
        self, model: Model, weight: WeightFile, target: Path, watch: Callable[[int], None]
    ) -> Obtained:
        """Write the weight file to `target`, complete and checked.

        What an earlier call had of it is not fetched again. `watch` is told how many bytes there
        are; what it raises ends the call.
        """
        ...


class RunIndex(Protocol):
    """Summaries of ended runs, local to the machine; it can be rebuilt from the run folders."""

    def get(self, guild: str, run: str) -> bytes | None:
        """Return the summary of an ended run, None when it is not known."""
        ...

    def put(self, guild: str, run: str, summary: bytes) -> None:
        """Keep the summary of an ended run."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...
