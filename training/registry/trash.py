"""The trash: datasets, LoRA files and runs that were removed and can still be restored.

A removal moves no files. It stores a folder with one small file for each removed item, named after
the item, and lists then leave these items out. So either all items are removed or none is, both on
a disk and on a Modal Volume.
"""

import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, ValidationError

from training import store_keys
from training.errors import NotFoundError
from training.ports import Store
from training.registry.staged import staging_folder
from training.remedies import Restore
from training.store_keys import TrashKind

TRASH_DAYS = 7
NOUNS: Mapping[TrashKind, str] = MappingProxyType(
    {"datasets": "dataset", "checkpoints": "checkpoint", "runs": "run"}
)
REMOVAL_ID = r"[0-9a-f]{12}-[0-9a-f]{8}"  # milliseconds since 1970, and a random number


def now() -> datetime:
    return datetime.now(UTC)


class RemovedBy(BaseModel):
    """The content of the small file that stands for a removed item."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """The items that one request removed from a guild.

    Attributes:
        items: Dataset versions such as `annika@2`, folders of LoRA files, or names of runs.
    """

    id: str
    guild: str
    kind: TrashKind
    items: tuple[str, ...]

    @property
    def at(self) -> datetime:
        return removed_at(self.id)

    @property
    def until(self) -> datetime:
        """The time until which the items can be restored."""
        return restorable_until(self.at)


class Trash:
    """The removals of all guilds in one store."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = now) -> None:
        self._store, self._clock = store, clock

    def put(self, guild: str, kind: TrashKind, items: Collection[str], *, by: str) -> Removal:
        """Move items of one kind to the trash, all at once."""
        removal_id = f"{int(self._clock().timestamp() * 1000):012x}-{secrets.token_hex(4)}"
        with staging_folder(self._store, guild) as folder:
            for item in items:
                (folder / item).write_text(RemovedBy(by=by).model_dump_json(), "utf-8")
            self._store.put_tree(store_keys.removal(guild, kind, removal_id), folder)
        return Removal(id=removal_id, guild=guild, kind=kind, items=tuple(items))

    def removals(self, guild: str, kind: TrashKind) -> list[Removal]:
        """Return the removals, newest first, from a single listing of the store."""
        found: dict[str, list[str]] = {}
        for file in self._store.walk(store_keys.trash(guild, kind)):
            *_, removal_id, item = file.key.split("/")
            if re.fullmatch(REMOVAL_ID, removal_id):
                found.setdefault(removal_id, []).append(item)
        return [
            Removal(
                id=removal_id, guild=guild, kind=kind, items=tuple(sorted(items, key=_in_order))
            )
            for removal_id, items in sorted(found.items(), reverse=True)
        ]

    def items(self, guild: str, kind: TrashKind) -> frozenset[str]:
        return frozenset(item for found in self.removals(guild, kind) for item in found.items)

    def refuse_removed(
        self, guild: str, kind: TrashKind, items: Collection[str], *, name: str
    ) -> None:
        """Raise `NotFoundError`, with `name` in its text, if any of the items is in the trash."""
        found = [one for one in self.removals(guild, kind) if not set(items).isdisjoint(one.items)]
        if not found:
            return
        removal = found[0]
        cause = f"{name} was removed on {day(removal.at)}."
        if removal.until < self._clock():
            raise NotFoundError(cause, f"It could be restored until {day(removal.until)}.")
        fix = f"It can be restored until {day(removal.until)}."
        raise NotFoundError(cause, fix, Restore(what=kind, name=name))

    def removed_by(self, removal: Removal) -> str:
        """Return who removed the items; "" if that is unknown."""
        key = store_keys.removal(removal.guild, removal.kind, removal.id)
        try:
            return RemovedBy.model_validate_json(self._store.read(f"{key}/{removal.items[0]}")).by
        except (FileNotFoundError, ValidationError):
            return ""

    def take_out(self, removal: Removal, items: Collection[str]) -> None:
        """Take items out of the trash; this restores the items that have not been deleted."""
        folder = store_keys.removal(removal.guild, removal.kind, removal.id)
        if set(removal.items) <= set(items):
            self._store.delete(folder)
            return
        for item in items:
            self._store.delete(f"{folder}/{item}")


def restorable_until(removed: datetime) -> datetime:
    return removed + timedelta(days=TRASH_DAYS)


def removed_at(removal_id: str) -> datetime:
    return datetime.fromtimestamp(int(removal_id.partition("-")[0], 16) / 1000, UTC)


def day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _in_order(item: str) -> tuple[str, int]:
    """Return a sort key that puts `annika@2` before `annika@10`."""
    name, _, number = item.partition("@")
    return name, int(number) if number.isdecimal() else 0
