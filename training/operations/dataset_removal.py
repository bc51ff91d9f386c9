"""Removing datasets: what would go with them is known before it goes."""

from dataclasses import dataclass

from training.errors import RequestError
from training.operations.runs import Runs
from training.pipeline.advance import open_runs
from training.pipeline.runtime import Runtime
from training.registry.datasets import Datasets, DatasetVersion
from training.remedies import RemoveDataset
from training.runs.event_log import DamagedRunError
from training.runs.spec import DatasetRef, parse_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What is asked for.

    Attributes:
        name: Of the dataset.
        is_whole: All of its versions are to go.
        versions: Those that would go, oldest first.
        others: Numbers of the versions that would stay.
        runs: Names of the runs that were trained on what would go.
    """

    name: str
    is_whole: bool
    versions: tuple[DatasetVersion, ...]
    others: tuple[int, ...]
    runs: tuple[str, ...]

    @property
    def newest(self) -> str:
        """Return the newest of the versions that would go."""
        return str(self.versions[-1].ref)


class DatasetRemovals:
    """Removes versions and whole datasets of guilds, unless an open run reads them."""

    def __init__(self, runtime: Runtime, datasets: Datasets, runs: Runs) -> None:
        self._runtime = runtime
        self._datasets = datasets
        self._all_runs = runs

    def ask(self, guild: str, reference: str) -> Removal:
        """Return what removing `annika@2`, or all of `annika`, would delete.

        Raises:
            NotFoundError: The guild has no such dataset or version.
            RequestError: An open run reads it.
        """
        name, number = parse_reference(reference)
        found = self._datasets.find(guild, reference)
        there = self._datasets.versions(guild, name)
        doomed = there if number is None else [found]
        numbers = {version.number for version in doomed}
        self._refuse_open(guild, name, numbers)
        return Removal(
            name=name,
            is_whole=number is None,
            versions=tuple(doomed),
            others=tuple(v.number for v in there if v.number not in numbers),
            runs=tuple(self._runs(guild, name, numbers)),
        )

    def remove(self, guild: str, reference: str) -> list[DatasetVersion]:
        """Remove one version.

        Raises:
            NotFoundError: The guild has no such version.
            RequestError: An open run reads it.
        """
        version = self._datasets.find(guild, reference)
        self._refuse_open(guild, version.name, {version.number})
        return self._datasets.remove(guild, str(version.ref))

    def remove_all(self, guild: str, newest: str) -> list[DatasetVersion]:
        """Remove every version of a dataset, whose newest is the one that is named.

        Raises:
            NotFoundError: The guild has no such dataset.
            RequestError: It has a newer version, or an open run reads it.
        """
        name, number = parse_reference(newest)
        there = self._datasets.find(guild, name)
        if there.number != number:
            raise RequestError(
                f"{name} is not as it was when the question was asked: its newest version is "
                f"{there.ref} now. Nothing was removed.",
                "Ask again to see what would be removed now.",
                RemoveDataset(name=name),
            )
        numbers = {version.number for version in self._datasets.versions(guild, name)}
        self._refuse_open(guild, name, numbers)
        return self._datasets.remove(guild, name)

    def _refuse_open(self, guild: str, name: str, numbers: set[int]) -> None:
        for found_guild, run in open_runs(self._runtime, guild):
            used = self._runtime.log(found_guild, run).spec().dataset
            if _is_of(used, name, numbers):
                raise RequestError(
                    f"The run {run} is reading {used}, so it cannot be removed now.",
                    "Wait until the run has ended, or cancel it first.",
                )

    def _runs(self, guild: str, name: str, numbers: set[int]) -> list[str]:
        found: list[str] = []
        for run in self._all_runs.names(guild):
            try:
                used = self._runtime.log(guild, run).spec().dataset
            except DamagedRunError:  # what it was trained on cannot be told any more
                continue
            if _is_of(used, name, numbers):
                found.append(run)
        return found


def _is_of(used: DatasetRef, name: str, numbers: set[int]) -> bool:
    return used.name == name and used.number in numbers
