"""The datasets of a guild: every upload is a version, stored whole or not at all."""

import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from training import layout
from training.dataset.inspect import inspect_zip
from training.dataset.limits import Limits
from training.dataset.report import Report
from training.errors import DatasetError, NotFoundError
from training.ports import Store
from training.request import DatasetRef, check_name, parse_reference

_LAST = "last"
_SHOWN_FINDINGS = 5


class DatasetVersion(BaseModel):
    """One stored version of a dataset; written last, so that what has one is complete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    number: int
    version: str
    images: int
    clips: int
    added_at: datetime
    added_by: str
    file_name: str

    @property
    def ref(self) -> DatasetRef:
        """Return how a run names this version."""
        return DatasetRef(name=self.name, number=self.number, version=self.version)


class DatasetRefusedError(DatasetError):
    """An upload that cannot be used; `report` says everything that was found."""

    def __init__(self, cause: str, fix: str, report: Report) -> None:
        super().__init__(cause, fix)
        self.report = report


class Datasets:
    """Adds, lists, finds and removes the datasets of guilds in one store."""

    def __init__(self, store: Store, limits: Limits | None = None) -> None:
        self._store = store
        self._limits = limits or Limits()

    def add(
        self,
        guild: str,
        name: str,
        archive: Path,
        *,
        by: str,
        file_name: str,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> tuple[DatasetVersion, Report]:
        """Inspect an upload and store it as the next version of the dataset `name`.

        Raises:
            RequestError: The name cannot be used.
            DatasetError: The upload cannot be used; nothing is stored.
        """
        check_name("dataset", name)
        report = inspect_zip(archive, limits=self._limits, on_progress=on_progress)
        refuse_unusable(report)
        while True:
            version = DatasetVersion(
                name=name,
                number=self._next_number(guild, name),
                version=report.version,
                images=len(report.images),
                clips=len(report.clips),
                added_at=datetime.now(UTC),
                added_by=by,
                file_name=file_name,
            )
            if self._store_version(guild, version, report, archive):
                return version, report

    def names(self, guild: str) -> list[str]:
        """Return the names of all datasets of a guild."""
        names = self._store.names(layout.datasets(guild))
        return [name for name in names if self._numbers(guild, name)]

    def newest(self, guild: str) -> list[DatasetVersion]:
        """Return the newest version of every dataset of a guild."""
        return [self.find(guild, name) for name in self.names(guild)]

    def versions(self, guild: str, name: str) -> list[DatasetVersion]:
        """Return all versions of one dataset, oldest first."""
        return [self._read(guild, name, number) for number in self._numbers(guild, name)]

    def find(self, guild: str, reference: str) -> DatasetVersion:
        """Return the version that `annika@3` names; `annika` alone means the newest.

        Raises:
            RequestError: The reference is not well formed.
            NotFoundError: The guild has no such dataset or version.
        """
        name, number = parse_reference(reference)
        numbers = self._numbers(guild, name)
        if not numbers:
            have = ", ".join(self.names(guild)) or "none yet: add one with /dataset add"
            raise NotFoundError(f"There is no dataset called {name!r} here.", f"Datasets: {have}.")
        if number is not None and number not in numbers:
            have = ", ".join(f"{name}@{n}" for n in numbers)
            raise NotFoundError(f"{name} has no version {number}.", f"Choose one of: {have}.")
        return self._read(guild, name, number if number is not None else numbers[-1])

    def report(self, guild: str, version: DatasetVersion) -> Report:
        """Return what the inspection of a version found."""
        folder = layout.dataset(guild, version.name, version.number)
        return Report.model_validate_json(self._store.read(f"{folder}/{layout.REPORT}"))

    def remove(self, guild: str, reference: str) -> list[DatasetVersion]:
        """Remove one version, or the whole dataset, and return what was removed.

        Its numbers are not given again, so that `annika@3` never means two things.

        Raises:
            NotFoundError: The guild has no such dataset or version.
        """
        name, number = parse_reference(reference)
        newest = self.find(guild, reference)
        doomed = [newest] if number is not None else self.versions(guild, name)
        last = max(self._numbers(guild, name)[-1], self._last(guild, name))
        self._store.write(f"{layout.datasets(guild)}/{name}/{_LAST}", str(last).encode())
        for version in doomed:
            self._store.delete(layout.dataset(guild, name, version.number))
            if not self._is_used(guild, version.version):
                self._store.delete(layout.prepared(guild, version.version))
        return doomed

    def _is_used(self, guild: str, content: str) -> bool:
        return any(
            version.version == content
            for name in self.names(guild)
            for version in self.versions(guild, name)
        )

    def _store_version(
        self, guild: str, version: DatasetVersion, report: Report, archive: Path
    ) -> bool:
        """Store a version whole; False when another upload took its number meanwhile."""
        # Beside its final place, so that one rename stores all of it.
        folder = self._store.path(f"guilds/{guild}/.incoming")
        folder.mkdir(parents=True, exist_ok=True)
        incoming = Path(tempfile.mkdtemp(dir=folder))
        try:
            shutil.copyfile(archive, incoming / layout.ORIGINAL)
            (incoming / layout.REPORT).write_text(report.model_dump_json(indent=2), "utf-8")
            (incoming / layout.MANIFEST).write_text(version.model_dump_json(indent=2), "utf-8")
            target = layout.dataset(guild, version.name, version.number)
            return self._store.put_tree(target, incoming)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def _next_number(self, guild: str, name: str) -> int:
        return max(self._last(guild, name), *self._numbers(guild, name), 0) + 1

    def _last(self, guild: str, name: str) -> int:
        try:
            return int(self._store.read(f"{layout.datasets(guild)}/{name}/{_LAST}"))
        except FileNotFoundError:
            return 0

    def _numbers(self, guild: str, name: str) -> list[int]:
        folder = f"{layout.datasets(guild)}/{name}"
        found = (entry for entry in self._store.names(folder) if entry.isdecimal())
        return sorted(
            int(n) for n in found if self._store.exists(f"{folder}/{n}/{layout.MANIFEST}")
        )

    def _read(self, guild: str, name: str, number: int) -> DatasetVersion:
        key = f"{layout.dataset(guild, name, number)}/{layout.MANIFEST}"
        return DatasetVersion.model_validate_json(self._store.read(key))


def refuse_unusable(report: Report) -> None:
    """Raise when something that was found stands against training.

    Raises:
        DatasetRefusedError: With the first few causes and fixes, and the whole report.
    """
    if report.is_usable:
        return
    shown = report.errors[:_SHOWN_FINDINGS]
    more = len(report.errors) - len(shown)
    causes = " ".join(finding.cause for finding in shown)
    fixes = " ".join(dict.fromkeys(finding.fix for finding in shown))
    rest = f" And {more} more." if more else ""
    raise DatasetRefusedError(f"{causes}{rest}", f"{fixes} Nothing was stored.", report)
