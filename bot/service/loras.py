"""The use cases for LoRA files that runs can start from, on any chat platform."""

from pathlib import Path

from bot.installation import Installation
from bot.service.rights import GuildMember, Rights
from bot.service.threads import in_thread
from training.registry.loras import StoredLora
from training.registry.trash import Removal
from training.runs.spec import check_name, name_from_file
from training.vocabulary import ExpertName


class LoraService:
    """The LoRA use cases of one installation. Each call concerns one guild."""

    def __init__(self, installation: Installation, rights: Rights) -> None:
        self._installation, self._rights = installation, rights

    async def add(
        self,
        person: GuildMember,
        file: Path,
        *,
        model: str,
        expert: ExpertName | None,
        name: str | None,
    ) -> StoredLora:
        """Check a LoRA file and store it."""

        def add() -> StoredLora:
            self.require_may_add(person, name or name_from_file(file.name, "checkpoint"))
            return self._installation.loras.add(
                person.guild, file, model=model, expert=expert, name=name, by=person.id
            )

        return await in_thread(add)

    def require_may_add(self, person: GuildMember, name: str | None) -> None:
        """Raise `TrainingError` unless the person may store a file under this name.

        While a removed file can be restored, only people who may change it can reuse its name.
        """
        if name is None:
            return
        loras = self._installation.loras
        loras.require_free(person.guild, check_name("checkpoint", name))
        owner = loras.owner(person.guild, name)
        if owner is not None:
            what = f"The removed checkpoint {name}"
            self._rights.require_owner(person, owner, what=what, act="replace")

    async def remove(self, person: GuildMember, name: str) -> Removal:
        """Remove a LoRA file; runs that started from it keep their own copy."""

        def remove() -> Removal:
            owner = self._installation.loras.find(person.guild, name).added_by
            self._rights.require_owner(person, owner, what=f"The checkpoint {name}", act="remove")
            return self._installation.lora_removals.remove(person.guild, name, by=person.id)

        return await in_thread(remove)
