"""Restores removed items, on any chat platform."""

from bot.installation import Installation
from bot.service.rights import GuildMember, Rights
from bot.service.threads import in_thread
from training.operations.trash.restoring import Restorable
from training.store_keys import TrashKind


class TrashService:
    """The trash use cases of one installation. Each call concerns one guild."""

    def __init__(self, installation: Installation, rights: Rights) -> None:
        self._installation, self._rights = installation, rights

    async def restore(self, person: GuildMember, kind: TrashKind, wanted: str) -> Restorable:
        """Restore the removed item with the name or removal id `wanted`.

        Raises:
            NotFoundError: There is no such removed item.
            RequestError: The item belongs to somebody else, or its name is taken.
        """

        def restore() -> Restorable:
            found = self._installation.restores.find(person.guild, kind, wanted)
            what = " and ".join(found.names)
            for owner in found.owners:
                self._rights.require_owner(person, owner, what=what, act="restore")
            return self._installation.restores.restore(found)

        return await in_thread(restore)
