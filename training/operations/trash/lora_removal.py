"""Removes uploaded LoRA files."""

from training.operations.trash.lease import trash_lease
from training.pipeline.runtime import Runtime
from training.registry.loras import Loras
from training.registry.trash import Removal, Trash


class LoraRemovals:
    """Moves uploaded LoRA files to the trash. Runs that start from one keep their own copy."""

    def __init__(self, runtime: Runtime, loras: Loras) -> None:
        self._runtime, self._loras = runtime, loras
        self._trash = Trash(runtime.store, runtime.clock)

    def remove(self, guild: str, name: str, *, by: str) -> Removal:
        """Remove a file.

        Raises:
            NotFoundError: The guild has no file of that name.
        """
        with trash_lease(self._runtime, guild, "checkpoints"):
            folder = self._loras.folder(guild, name)
            return self._trash.put(guild, "checkpoints", [folder], by=by)
