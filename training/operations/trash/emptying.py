"""Empties the trash: deletes removed datasets, LoRA files and runs that nobody restored in time."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from training import store_keys
from training.errors import TrainingError
from training.operations.trash.lease import trash_lease
from training.pipeline.advance import open_runs
from training.pipeline.runtime import Runtime
from training.registry.datasets import Datasets
from training.registry.loras import Loras
from training.registry.trash import Removal, Trash
from training.store_keys import RunKeys, TrashKind

KINDS: tuple[TrashKind, ...] = ("datasets", "checkpoints", "runs")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Freed:
    """A number of files, and their total size."""

    files: int = 0
    size_bytes: int = 0

    def __add__(self, other: "Freed") -> "Freed":
        return Freed(self.files + other.files, self.size_bytes + other.size_bytes)


class TrashBin:
    """The trash of all guilds of an installation: measures it and empties it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._datasets, self._loras = Datasets(runtime.store), Loras(runtime.store)
        self._trash = Trash(runtime.store, runtime.clock)

    def held(self, guild: str) -> Freed:
        """Return the files and bytes that deleting all of a guild's trash would free."""
        return sum((self._held(guild, kind) for kind in KINDS), Freed())

    def _held(self, guild: str, kind: TrashKind) -> Freed:
        items = self._trash.items(guild, kind)
        return sum((self._size(guild, kind, item) for item in items), Freed())

    def empty(self, guild: str, *, is_all: bool = False) -> Freed:
        """Delete trash that can no longer be restored, or all trash if `is_all`.

        Return the number and size of the deleted files. Keep whatever an open run still reads.
        """
        return sum((self._empty(guild, kind, is_all=is_all) for kind in KINDS), Freed())

    def _empty(self, guild: str, kind: TrashKind, *, is_all: bool) -> Freed:
        freed = Freed()
        if not self._due(guild, kind, is_all=is_all):
            return freed
        with trash_lease(self._runtime, guild, kind):
            used = set(self._used(guild, kind))
            for removal in self._due(guild, kind, is_all=is_all):
                gone = [item for item in removal.items if item not in used]
                for item in gone:
                    freed += self._size(guild, kind, item)
                    self._delete(guild, kind, item)
                self._trash.take_out(removal, gone)
        return freed

    def _due(self, guild: str, kind: TrashKind, *, is_all: bool) -> list[Removal]:
        now = self._runtime.clock()
        return [one for one in self._trash.removals(guild, kind) if is_all or one.until < now]

    def _used(self, guild: str, kind: TrashKind) -> Iterator[str]:
        """Yield the items of one kind that open runs read: datasets, or runs that they continue."""
        for owner, name in open_runs(self._runtime, guild) if kind != "checkpoints" else ():
            try:
                spec = self._runtime.log(owner, name).spec()
                if kind == "datasets":
                    yield str(spec.dataset)
                    continue
                while spec.continues is not None:
                    yield spec.continues
                    spec = self._runtime.log(owner, spec.continues).spec()
            except TrainingError:
                logger.warning("run %s: the items that it reads are unknown", name)

    def _delete(self, guild: str, kind: TrashKind, item: str) -> None:
        match kind:
            case "datasets":
                name, _, number = item.partition("@")
                self._datasets.delete(guild, name, int(number))
            case "checkpoints":
                self._loras.delete(guild, item)
            case "runs":
                keys, store = RunKeys(guild, item), self._runtime.store
                # Reserve the name before the run is deleted, so that no other run can ever get it.
                store.write(store_keys.used_run_name(guild, item), b"")
                store.delete(keys.folder)
                for marker in (keys.open, keys.unannounced):
                    store.delete(marker)

    def _size(self, guild: str, kind: TrashKind, item: str) -> Freed:
        sizes = [file.size_bytes for file in self._runtime.store.walk(_folder(guild, kind, item))]
        return Freed(len(sizes), sum(sizes))


def _folder(guild: str, kind: TrashKind, item: str) -> str:
    match kind:
        case "datasets":
            name, _, number = item.partition("@")
            return store_keys.dataset(guild, name, int(number))
        case "checkpoints":
            return store_keys.lora(guild, item)
        case "runs":
            return RunKeys(guild, item).folder
