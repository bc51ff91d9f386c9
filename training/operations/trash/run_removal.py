"""Removes finished runs with everything that they saved."""

from contextlib import suppress
from dataclasses import dataclass

from training.errors import RequestError
from training.operations.runs import Runs, continue_lease
from training.operations.trash.lease import trash_lease
from training.pipeline.runtime import Runtime
from training.registry.trash import Removal, Trash
from training.remedies import ShowRuns
from training.runs.event_log import DamagedRunError


@dataclass(frozen=True, slots=True)
class RemovedRun:
    """A run that was removed, with its number of checkpoints and the size of its folder."""

    removal: Removal
    name: str
    checkpoints: int
    size_bytes: int


class RunRemovals:
    """Moves runs to the trash. Their names stay reserved, because links and cards contain them."""

    def __init__(self, runtime: Runtime, runs: Runs) -> None:
        self._runtime, self._runs = runtime, runs
        self._trash = Trash(runtime.store, runtime.clock)

    def remove(self, guild: str, name: str, *, by: str) -> RemovedRun:
        """Remove a run that has ended.

        Raises:
            NotFoundError: The guild has no such run.
            RequestError: The run has not ended.
        """
        store, log = self._runtime.store, self._runtime.log(guild, name)
        # Hold both leases, so that nobody resumes the run while it is being removed.
        with trash_lease(self._runtime, guild, "runs"), continue_lease(self._runtime, guild, name):
            checkpoints = 0
            try:
                run = self._runs.find(guild, name)
            except DamagedRunError:
                self._runs.require_not_removed(guild, name)
            else:
                _require_ended(name, is_final=run.status.is_final)
                checkpoints = sum(len(expert.checkpoints) for expert in run.experts.values())
            size_bytes = sum(file.size_bytes for file in store.walk(log.keys.folder))
            removal = self._trash.put(guild, "runs", [name], by=by)
        return RemovedRun(removal, name, checkpoints, size_bytes)

    def require_ended(self, guild: str, name: str) -> None:
        """Raise `RequestError` if the run has not ended; a damaged run counts as ended."""
        with suppress(DamagedRunError):
            _require_ended(name, is_final=self._runs.find(guild, name).status.is_final)


def _require_ended(name: str, *, is_final: bool) -> None:
    if not is_final:
        raise RequestError(
            f"The run {name} has not ended, so it cannot be removed.",
            "Cancel the run first, and remove it when it has stopped.",
            ShowRuns(run=name),
        )
