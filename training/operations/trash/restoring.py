"""Restores removed datasets, LoRA files and runs from the trash."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from training.errors import NotFoundError, RequestError
from training.operations.trash.lease import trash_lease
from training.pipeline.runtime import Runtime
from training.registry.datasets import Datasets
from training.registry.loras import Loras, name_of
from training.registry.trash import NOUNS, REMOVAL_ID, TRASH_DAYS, Removal, Trash, day
from training.remedies import RemoveLora
from training.runs.event_log import DamagedRunError
from training.store_keys import TrashKind
from training.wording import did_you_mean, spelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Restorable:
    """The removed items that one request would restore.

    Attributes:
        items: The items to restore from each removal, such as `annika@2`.
        owners: The users who own these items; a dataset's versions have one owner.
    """

    guild: str
    kind: TrashKind
    items: Mapping[Removal, tuple[str, ...]]
    owners: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the items once restored: `annika@2`, or the name of a LoRA file or run."""
        found = (name_of(item) for items in self.items.values() for item in items)
        return tuple(dict.fromkeys(found))


class Restores:
    """Finds and restores what was removed in the last 7 days."""

    def __init__(self, runtime: Runtime, datasets: Datasets, loras: Loras) -> None:
        self._runtime, self._datasets, self._loras = runtime, datasets, loras
        self._trash = Trash(runtime.store, runtime.clock)

    def removals(self, guild: str, kind: TrashKind) -> list[Removal]:
        """Return the removals that can still be undone, newest first."""
        now = self._runtime.clock()
        return [found for found in self._trash.removals(guild, kind) if found.until >= now]

    def find(self, guild: str, kind: TrashKind, wanted: str) -> Restorable:
        """Return the removed items that `wanted` means: a name, or the id of a removal.

        For datasets, `annika` means all removed versions and `annika@2` one of them. If several
        LoRA files with this name were removed, the one removed last is meant.

        Raises:
            NotFoundError: Nothing with that name can be restored, or it has already been restored.
        """
        removals = self.removals(guild, kind)
        wanted = spelled(wanted)
        if re.fullmatch(REMOVAL_ID, wanted):
            items = {found: found.items for found in removals if found.id == wanted}
        else:
            items = _of_name(removals, kind, wanted)
        if not items:
            raise self._nothing(guild, kind, wanted)
        every = {item for some in items.values() for item in some}
        owners = frozenset(self._owner(guild, kind, item) for item in every)
        return Restorable(guild=guild, kind=kind, items=items, owners=owners)

    def restore(self, found: Restorable) -> Restorable:
        """Restore the found items that are still in the trash, and return them.

        Raises:
            NotFoundError: All of them were restored or deleted meanwhile.
            RequestError: Another LoRA file has the name now.
        """
        guild, kind = found.guild, found.kind
        with trash_lease(self._runtime, guild, kind):
            there = {one.id: one for one in self.removals(guild, kind)}
            items = {
                there[old.id]: some
                for old, names in found.items.items()
                if old.id in there and (some := _still(there[old.id], names))
            }
            if not items:
                raise self._nothing(guild, kind, " and ".join(found.names))
            for removal, names in items.items():
                self._take_out(removal, names)
        return Restorable(guild=guild, kind=kind, items=items, owners=found.owners)

    def _take_out(self, removal: Removal, items: tuple[str, ...]) -> None:
        if removal.kind == "checkpoints":
            self._require_free(removal.guild, items)
        self._trash.take_out(removal, items)
        if removal.kind == "checkpoints":
            try:
                self._require_free(removal.guild, items, and_others=1)
            except RequestError:
                by = self._trash.removed_by(removal)
                self._trash.put(removal.guild, removal.kind, items, by=by)
                raise

    def _require_free(self, guild: str, folders: tuple[str, ...], and_others: int = 0) -> None:
        named = self._loras.named(guild)
        for name in map(name_of, folders):
            if len(named.get(name, ())) > and_others:
                raise RequestError(
                    f"There is another checkpoint called {name!r} now. Nothing was restored.",
                    "Remove that checkpoint first; you can restore it later.",
                    RemoveLora(name=name),
                )

    def _nothing(self, guild: str, kind: TrashKind, wanted: str) -> NotFoundError:
        what = NOUNS[kind]
        if match := re.fullmatch(REMOVAL_ID, wanted):
            removal = Removal(id=match[0], guild=guild, kind=kind, items=())
            if removal.until < self._runtime.clock():
                return NotFoundError(
                    f"The {what} could be restored until {day(removal.until)}.",
                    f"The {what} cannot be restored any more.",
                )
            return NotFoundError(
                "There is nothing left to restore here.", f"The {what} has already been restored."
            )
        names = dict.fromkeys(
            name_of(item) for found in self.removals(guild, kind) for item in found.items
        )
        return NotFoundError(
            f"No {what} called {wanted[:80]!r} was removed here in the last {TRASH_DAYS} days.",
            did_you_mean(wanted, names) or f"These can be restored: {', '.join(list(names)[:20])}."
            if names
            else f"No {what} is in the trash. It may have been restored already.",
        )

    def _owner(self, guild: str, kind: TrashKind, item: str) -> str:
        """Return the id of an item's owner; "" (nobody) if the item's record cannot be read."""
        try:
            match kind:
                case "datasets":
                    return self._datasets.owner(guild, item.partition("@")[0]) or ""
                case "checkpoints":
                    return self._loras.record(guild, item).added_by
                case "runs":
                    return self._runtime.log(guild, item).spec().requested_by
        except (FileNotFoundError, ValidationError, DamagedRunError):
            return ""


def _of_name(
    removals: list[Removal], kind: TrashKind, wanted: str
) -> dict[Removal, tuple[str, ...]]:
    found: dict[Removal, tuple[str, ...]] = {}
    for removal in removals:
        fitting = tuple(item for item in removal.items if wanted in _names_of(item))
        if fitting:
            found[removal] = fitting
            if kind == "checkpoints":
                break
    return found


def _names_of(item: str) -> tuple[str, ...]:
    """Return the names that users may type for an item: `annika@2` or `annika` for a version."""
    return item, item.partition("@")[0], name_of(item)


def _still(removal: Removal, items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(item for item in items if item in removal.items)
