"""Shows what takes up space and removes it, on any chat platform."""

from bot.installation import Installation
from bot.service.rights import GuildMember, Rights
from bot.service.threads import in_thread
from training.operations.storage import StoredItem
from training.operations.trash.emptying import Freed, TrashBin
from training.registry.trash import Removal


class StorageService:
    """The storage use cases of one installation. Each call concerns one guild.

    The keys of items look like `run:annika`. Every method that takes a person raises `RequestError`
    unless they may make the change.
    """

    def __init__(self, installation: Installation, rights: Rights) -> None:
        self._installation, self._rights = installation, rights

    async def ask_to_remove(self, person: GuildMember, key: str) -> StoredItem:
        """Return the item to remove, if it exists and no unfinished run needs it."""

        def ask() -> StoredItem:
            item = self._find(person, key)
            self._installation.storage.require_unused(person.guild, item)
            return item

        return await in_thread(ask)

    async def remove(self, person: GuildMember, key: str) -> tuple[StoredItem, Removal | None]:
        """Remove an item; return it and its `Removal`, which is None if it cannot be restored."""

        def remove() -> tuple[StoredItem, Removal | None]:
            item = self._find(person, key)
            return item, self._installation.storage.remove(person.guild, item, by=person.id)

        return await in_thread(remove)

    async def ask_to_empty(self, person: GuildMember) -> Freed:
        """Return what emptying the trash would delete."""

        def ask() -> Freed:
            self._require_may_empty(person)
            return TrashBin(self._installation.runtime).held(person.guild)

        return await in_thread(ask)

    async def empty(self, person: GuildMember) -> Freed:
        """Delete everything in the trash for good, except what unfinished runs read."""

        def empty() -> Freed:
            self._require_may_empty(person)
            return TrashBin(self._installation.runtime).empty(person.guild, is_all=True)

        return await in_thread(empty)

    def _require_may_empty(self, person: GuildMember) -> None:
        self._rights.require_team(person, act="empty the trash")

    def _find(self, person: GuildMember, key: str) -> StoredItem:
        item = self._installation.storage.find(person.guild, key)
        match item.kind:
            case "caches":
                self._rights.require_team(person, act="delete the caches")
            case "merged" | "weights":
                self._rights.require_manager(person, act="delete what all servers share")
            case "dataset" | "checkpoint" | "run":
                what = f"The {item.kind} {item.name}"
                owner = self._owner(person.guild, item)
                self._rights.require_owner(person, owner, what=what, act="remove")
        return item

    def _owner(self, guild: str, item: StoredItem) -> str:
        installation = self._installation
        if item.kind == "run":
            return installation.runtime.log(guild, item.name).spec().requested_by
        registry = installation.datasets if item.kind == "dataset" else installation.loras
        return registry.owner(guild, item.name.partition("@")[0]) or ""
