"""The runs of a guild as a list. Listing runs needs neither datasets nor LoRA files."""

from pydantic import ValidationError

from training import store_keys
from training.errors import NotFoundError
from training.files.parallel import each
from training.pipeline.run_view import RunSummary, RunView, damaged_summary, view_run
from training.pipeline.runtime import Runtime
from training.ports import RunIndex
from training.runs.event_log import DamagedRunError
from training.store_keys import RunKeys


class RunList:
    """Lists and shows runs; summaries of finished runs come from the index."""

    def __init__(self, runtime: Runtime, index: RunIndex) -> None:
        self._runtime, self._index = runtime, index

    def view(self, guild: str, name: str) -> RunView:
        """Return one run as it stands now.

        Raises:
            NotFoundError: The guild has no such run.
        """
        return view_run(self._runtime, guild, name)

    def names(self, guild: str) -> list[str]:
        """Return the names of all runs of a guild."""
        return list(self._found(guild))

    def _found(self, guild: str) -> dict[str, bool]:
        """Return the runs of a guild by name, and whether each may be open."""
        store = self._runtime.store
        names = store.names(store_keys.runs(guild))
        # The marker is made before a run and goes when it has ended: without one, it is stored.
        marked = set(store.names(store_keys.OPEN_RUNS))
        unsure = [name for name in names if RunKeys(guild, name).marker in marked]
        exist = each(lambda name: store.exists(RunKeys(guild, name).spec), unsure)
        are_stored = dict(zip(unsure, exist, strict=True))
        return {name: name in are_stored for name in names if are_stored.get(name, True)}

    def summaries(self, guild: str) -> list[RunSummary]:
        """Return all runs of a guild, newest first; ended ones come from the index."""
        runs = self._found(guild).items()
        found = each(lambda run: self._summary(guild, run[0], may_be_open=run[1]), runs)
        return sorted(found, key=lambda summary: summary.created_at, reverse=True)

    def rebuild_index(self) -> None:
        """Forget the index; the next listing fills it from the run folders."""
        self._index.clear()

    def _summary(self, guild: str, name: str, *, may_be_open: bool) -> RunSummary:
        known = self._index.get(guild, name)
        if known is not None:
            return RunSummary.model_validate_json(known)
        summary = None if may_be_open else self._kept_summary(guild, name)
        is_final = summary is not None
        if summary is None:
            try:
                view = self.view(guild, name)
            except (DamagedRunError, NotFoundError) as error:
                return damaged_summary(name, error.cause)
            summary, is_final = view.summary(), view.run.status.is_final
        if is_final:
            self._index.put(guild, name, summary.model_dump_json().encode())
        return summary

    def _kept_summary(self, guild: str, name: str) -> RunSummary | None:
        """Return what was kept of a run when it ended; None of one that ended without."""
        try:
            return RunSummary.model_validate_json(
                self._runtime.store.read(RunKeys(guild, name).ended)
            )
        except (FileNotFoundError, ValidationError):
            return None
