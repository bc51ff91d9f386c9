"""Lists what takes up space, and removes any of it that no open run needs."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Literal

from pydantic import ValidationError

from training import store_keys
from training.catalogue.models import MODELS
from training.errors import NotFoundError, RequestError
from training.merge.receipt import Receipt
from training.operations.clean_up import merged_keys
from training.operations.trash.dataset_removal import DatasetRemovals
from training.operations.trash.emptying import Freed, TrashBin
from training.operations.trash.lora_removal import LoraRemovals
from training.operations.trash.run_removal import RunRemovals
from training.pipeline.advance import open_runs
from training.pipeline.runtime import Runtime
from training.ports import StoreChanges
from training.registry.datasets import Datasets
from training.registry.loras import name_of
from training.registry.trash import Removal, Trash
from training.wording import did_you_mean

ItemKind = Literal["dataset", "checkpoint", "run", "caches", "merged", "weights"]
SHARED: tuple[ItemKind, ...] = ("merged", "weights")  # by all servers of the installation
_PUBLISHED = {
    PurePosixPath(file.file).name
    for model in MODELS
    if model.speed_lora is not None
    for file in model.speed_lora.files.values()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredItem:
    """Something that takes up space.

    Attributes:
        name: A dataset with its newest version, a run, a checkpoint, the address of a merged base,
            or "all" for caches and weights.
        detail: What a merged base was made from; else "".
    """

    kind: ItemKind
    name: str
    size_bytes: int
    detail: str = ""

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def can_be_restored(self) -> bool:
        """Whether the item goes to the trash when removed; otherwise, it is deleted at once."""
        return self.kind in ("dataset", "checkpoint", "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageUse:
    """What takes up space in a guild.

    Attributes:
        items: The guild's items and the shared ones, largest first.
        trash: What is in the trash.
        trash_until: When the last item in the trash can be deleted; None if it is empty.
    """

    items: tuple[StoredItem, ...]
    trash: Freed
    trash_until: datetime | None

    @property
    def size_bytes(self) -> int:
        return sum(item.size_bytes for item in self.items) + self.trash.size_bytes


class Storage:
    """What an installation stores, as seen from one guild."""

    def __init__(
        self,
        runtime: Runtime,
        datasets: Datasets,
        removals: tuple[DatasetRemovals, LoraRemovals, RunRemovals],
    ) -> None:
        self._runtime, self._datasets = runtime, datasets
        self._of_datasets, self._of_loras, self._of_runs = removals
        self._trash = Trash(runtime.store, runtime.clock)

    def use(self, guild: str) -> StorageUse:
        """Return what takes up space in a guild, and what all guilds share."""
        found = [
            *self._of_guild(guild),
            *self._merged(),
            StoredItem(kind="weights", name="all", size_bytes=self._size(store_keys.MODELS)),
        ]
        kinds: tuple[store_keys.TrashKind, ...] = ("datasets", "checkpoints", "runs")
        untils = [one.until for kind in kinds for one in self._trash.removals(guild, kind)]
        return StorageUse(
            items=tuple(
                sorted(filter(_is_there, found), key=lambda one: (-one.size_bytes, one.key))
            ),
            trash=TrashBin(self._runtime).held(guild),
            trash_until=max(untils, default=None),
        )

    def find(self, guild: str, key: str) -> StoredItem:
        """Return the item with a key such as `run:annika`.

        Raises:
            NotFoundError: There is no such item.
        """
        items = {item.key: item for item in self.use(guild).items}
        if key not in items:
            fix = did_you_mean(key, items) or "List the storage again and choose an item there."
            raise NotFoundError(f"Nothing called {key[:100]!r} is stored here.", fix)
        return items[key]

    def require_unused(self, guild: str, item: StoredItem) -> None:
        """Raise `RequestError` if the item cannot be removed, because an open run may need it."""
        match item.kind:
            case "dataset":
                self._of_datasets.plan(guild, item.name.partition("@")[0])
            case "run":
                self._of_runs.require_ended(guild, item.name)
            case "checkpoint":
                pass  # runs have their own copy
            case "caches":
                self._require_no_open_run(guild)
            case "merged":
                self._require_no_open_run(None)
            case "weights":
                raise RequestError(
                    "Model weights cannot be removed here: every run of their model needs them.",
                    "Remove something else.",
                )

    def remove(self, guild: str, item: StoredItem, *, by: str) -> Removal | None:
        """Remove an item, and return its removal if it can be restored.

        Raises:
            NotFoundError: It is gone.
            RequestError: An open run may need it, or a newer version of the dataset was added.
        """
        match item.kind:
            case "dataset":
                return self._of_datasets.remove_all(guild, item.name, by=by)
            case "run":
                return self._of_runs.remove(guild, item.name, by=by).removal
            case "checkpoint":
                return self._of_loras.remove(guild, item.name, by=by)
            case "caches":
                self.require_unused(guild, item)
                self._runtime.store.delete(store_keys.caches(guild))
            case "merged":
                self.require_unused(guild, item)
                keys = merged_keys(item.name)
                self._runtime.store.change(StoreChanges(deleted=keys))
            case "weights":
                self.require_unused(guild, item)
        return None

    def _of_guild(self, guild: str) -> Iterator[StoredItem]:
        runs = self._sizes(store_keys.runs(guild))
        for name in runs.keys() - self._trash.items(guild, "runs"):
            yield StoredItem(kind="run", name=name, size_bytes=runs[name])
        loras = self._sizes(store_keys.loras(guild))
        for folder in loras.keys() - self._trash.items(guild, "checkpoints"):
            name = name_of(folder)
            yield StoredItem(kind="checkpoint", name=name, size_bytes=loras[folder])
        yield from self._datasets_of(guild)
        caches = self._size(store_keys.caches(guild))
        yield StoredItem(kind="caches", name="all", size_bytes=caches)

    def _datasets_of(self, guild: str) -> Iterator[StoredItem]:
        """Yield the datasets with their repaired files; shared files count only once."""
        prepared = self._sizes(store_keys.all_prepared(guild))
        for name in self._datasets.names(guild):
            versions = self._datasets.versions(guild, name)
            if not versions:  # all damaged
                continue
            folders = [store_keys.dataset(guild, name, one.number) for one in versions]
            size_bytes = sum(map(self._size, folders))
            size_bytes += sum(prepared.pop(one.version, 0) for one in versions)
            yield StoredItem(kind="dataset", name=str(versions[-1].ref), size_bytes=size_bytes)

    def _merged(self) -> Iterator[StoredItem]:
        for address, size_bytes in self._sizes(store_keys.MERGED).items():
            try:
                data = self._runtime.store.read(store_keys.merged_receipt(address))
                receipt = Receipt.model_validate_json(data)
                detail = f"{receipt.base_name} with {_shown(receipt.lora_name)}"
            except (FileNotFoundError, ValidationError):
                detail = "unfinished"
            yield StoredItem(kind="merged", name=address, size_bytes=size_bytes, detail=detail)

    def _sizes(self, prefix: str) -> dict[str, int]:
        """Return the size of each file or folder directly under `prefix`, from one listing."""
        found = defaultdict[str, int](int)
        for file in self._runtime.store.walk(prefix):
            found[file.key.removeprefix(f"{prefix}/").partition("/")[0]] += file.size_bytes
        return found

    def _size(self, prefix: str) -> int:
        return sum(file.size_bytes for file in self._runtime.store.walk(prefix))

    def _require_no_open_run(self, guild: str | None) -> None:
        found = open_runs(self._runtime, guild)
        if found:
            what = "A run" if guild is None else f"The run {found[0][1]}"
            raise RequestError(
                f"{what} is in progress and may need these files, so they cannot be removed now.",
                "Wait until the run has ended, or cancel the run first.",
            )


def _shown(lora: str) -> str:
    """Return a published LoRA's name, or else "a custom LoRA", because all servers see the text."""
    return lora if lora in _PUBLISHED else "a custom LoRA"


def _is_there(item: StoredItem) -> bool:
    return item.size_bytes > 0
