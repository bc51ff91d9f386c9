"""Removes datasets and their versions, and first shows what would be removed."""

from dataclasses import dataclass

from training.errors import RequestError
from training.operations.runs import Runs
from training.operations.trash.lease import trash_lease
from training.pipeline.advance import open_runs
from training.pipeline.runtime import Runtime
from training.registry.datasets import Datasets, DatasetVersion
from training.registry.trash import Removal, Trash
from training.remedies import RemoveDataset
from training.runs.event_log import DamagedRunError
from training.runs.spec import DatasetRef, parse_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRemoval:
    """The versions that a removal would move to the trash, and the runs that used them.

    Attributes:
        name: The dataset's name.
        is_whole: Whether the whole dataset would be removed, rather than one named version.
        versions: The versions that would be removed, oldest first.
        others: Numbers of the versions that would remain.
        runs: Names of the runs that were trained on the removed versions.
    """

    name: str
    is_whole: bool
    versions: tuple[DatasetVersion, ...]
    others: tuple[int, ...]
    runs: tuple[str, ...]

    @property
    def newest(self) -> str:
        """The newest version that would be removed."""
        return str(self.versions[-1].ref)


class DatasetRemovals:
    """Moves versions and whole datasets to the trash, unless an open run reads them.

    Every method raises `NotFoundError` if the guild has no such dataset or version, and
    `RequestError` if an open run reads it.
    """

    def __init__(self, runtime: Runtime, datasets: Datasets, runs: Runs) -> None:
        self._runtime = runtime
        self._datasets = datasets
        self._all_runs = runs
        self._trash = Trash(runtime.store, runtime.clock)

    def plan(self, guild: str, reference: str) -> PlannedRemoval:
        """Return what would be removed for a reference, `annika@2` or `annika` (all versions)."""
        name, number = parse_reference(reference)
        found = self._datasets.find(guild, reference)
        there = self._datasets.versions(guild, name)
        doomed = there if number is None else [found]
        numbers = {version.number for version in doomed}
        self._refuse_open(guild, name, numbers)
        return PlannedRemoval(
            name=name,
            is_whole=number is None,
            versions=tuple(doomed),
            others=tuple(v.number for v in there if v.number not in numbers),
            runs=tuple(self._runs(guild, name, numbers)),
        )

    def remove(self, guild: str, reference: str, *, by: str) -> Removal:
        """Remove one version, or the whole dataset if `reference` names no version."""
        name, number = parse_reference(reference)
        with trash_lease(self._runtime, guild, "datasets"):
            found = self._datasets.find(guild, reference)
            doomed = [found] if number is not None else self._datasets.versions(guild, name)
            return self._remove(guild, doomed, by)

    def remove_all(self, guild: str, newest: str, *, by: str) -> Removal:
        """Remove all versions of a dataset.

        Args:
            guild: The guild.
            newest: The newest version that was shown for confirmation, such as `annika@3`.
            by: The user who removes the dataset.

        Raises:
            RequestError: A newer version has been added since.
        """
        name, number = parse_reference(newest)
        with trash_lease(self._runtime, guild, "datasets"):
            there = self._datasets.find(guild, name)
            if there.number != number:
                raise RequestError(
                    f"{name} has changed since you were asked: its newest version is now "
                    f"{there.ref}. Nothing was removed.",
                    "Start the removal again, and check what it would remove.",
                    RemoveDataset(name=name),
                )
            return self._remove(guild, self._datasets.versions(guild, name), by)

    def _remove(self, guild: str, versions: list[DatasetVersion], by: str) -> Removal:
        self._refuse_open(guild, versions[0].name, {version.number for version in versions})
        items = [str(version.ref) for version in versions]
        return self._trash.put(guild, "datasets", items, by=by)

    def _refuse_open(self, guild: str, name: str, numbers: set[int]) -> None:
        for found_guild, run in open_runs(self._runtime, guild):
            used = self._runtime.log(found_guild, run).spec().dataset
            if _is_of(used, name, numbers):
                raise RequestError(
                    f"The run {run} is reading {used}, so {used} cannot be removed now.",
                    "Wait until the run has ended, or cancel the run first.",
                )

    def _runs(self, guild: str, name: str, numbers: set[int]) -> list[str]:
        found: list[str] = []
        for run in self._all_runs.names(guild):
            try:
                used = self._runtime.log(guild, run).spec().dataset
            except DamagedRunError:  # the dataset of a damaged run is unknown
                continue
            if _is_of(used, name, numbers):
                found.append(run)
        return found


def _is_of(used: DatasetRef, name: str, numbers: set[int]) -> bool:
    return used.name == name and used.number in numbers
