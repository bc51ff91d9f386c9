"""The datasets of a guild: every upload or edit is a version, stored whole or not at all."""

from dataclasses import replace
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from training import store_keys
from training.dataset.captions.table import write_table
from training.dataset.difference import Difference, compare
from training.dataset.limits import Limits
from training.dataset.original import used_as
from training.dataset.report import Media, Report
from training.errors import NotFoundError
from training.files.parallel import each
from training.ports import Store
from training.registry.dataset_draft import (
    DatasetDraft,
    DatasetRefusedError,
    OnProgress,
    Thumbnails,
    Upload,
    inspect_upload,
    no_progress,
    read_draft,
    refuse_unusable,
    write_draft,
)
from training.registry.staged import staging_folder
from training.remedies import AddDataset
from training.runs.spec import DatasetRef, check_name, parse_reference

__all__ = ["DatasetRefusedError", "refuse_unusable"]

_LAST = "last"


class DatasetVersion(BaseModel):
    """One stored version of a dataset; written last, so that what has one is complete.

    Attributes:
        version: Content id of what is trained on.
        trigger: A word that every caption should hold.
        media: Whether the trainer gets the media as repaired or as uploaded.
        edited_captions: How many captions differ from those in the zip.
        change: What made this version, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    number: int
    version: str
    images: int
    clips: int
    added_at: datetime
    added_by: str
    file_name: str
    trigger: str | None = None
    media: Media = "repaired"
    edited_captions: int = 0
    change: str = "uploaded"

    @property
    def ref(self) -> DatasetRef:
        """Return how a run names this version."""
        return DatasetRef(
            name=self.name, number=self.number, version=self.version, media=self.media
        )


class Datasets:
    """Adds, lists, finds and removes the datasets of guilds in one store."""

    def __init__(self, store: Store, limits: Limits | None = None) -> None:
        self._store = store
        self.limits = limits or Limits()

    def add(
        self, guild: str, name: str, upload: Upload, on_progress: OnProgress = no_progress
    ) -> tuple[DatasetVersion, Report]:
        """Inspect an upload and store it as the next version of the dataset `name`.

        Raises:
            RequestError: The name cannot be used.
            DatasetError: The upload cannot be used; nothing is stored.
        """
        check_name("dataset", name)
        draft = self.inspect(upload, on_progress)
        return self.store(guild, name, draft), draft.report

    def inspect(self, upload: Upload, on_progress: OnProgress = no_progress) -> DatasetDraft:
        """Look at an upload within this installation's limits; nothing is stored.

        Raises:
            RequestError: The trigger word cannot be one.
            DatasetError: No look into the zip is possible.
        """
        return inspect_upload(upload, on_progress, self.limits)

    def store(self, guild: str, name: str, draft: DatasetDraft) -> DatasetVersion:
        """Store a draft as the next version, unless the newest one is the same.

        So two uploads of one zip at the same time give one version.

        Raises:
            RequestError: The name cannot be used.
            DatasetRefusedError: Something that was found stands against training.
        """
        check_name("dataset", name)
        refuse_unusable(draft.report)
        content = used_as(draft.report, draft.media).version
        while True:
            numbers = self._numbers(guild, name)
            newest = self._read(guild, name, numbers[-1]) if numbers else None
            if newest and (newest.version, newest.trigger) == (content, draft.trigger):
                return newest
            version = DatasetVersion(
                name=name,
                number=max(self._last(guild, name), *numbers, 0) + 1,
                version=content,
                images=len(draft.report.images),
                clips=len(draft.report.clips),
                added_at=datetime.now(UTC),
                added_by=draft.by,
                file_name=draft.file_name,
                trigger=draft.trigger,
                media=draft.media,
                edited_captions=len(draft.captions),
                change=draft.change,
            )
            if self._store_version(guild, version, draft):
                return version

    def draft(self, guild: str, version: DatasetVersion) -> DatasetDraft:
        """Return what a stored version consists of, to make another of it."""
        folder = store_keys.dataset(guild, version.name, version.number)
        draft = read_draft(self._store, folder, by=version.added_by, file_name=version.file_name)
        return replace(draft, trigger=version.trigger, media=version.media, change=version.change)

    def names(self, guild: str) -> list[str]:
        """Return the names of all datasets of a guild."""
        return list(self._all_numbers(guild))

    def newest(self, guild: str) -> list[DatasetVersion]:
        """Return the newest version of every dataset of a guild."""
        found = self._all_numbers(guild).items()
        return each(lambda one: self._read(guild, one[0], one[1][-1]), found)

    def versions(self, guild: str, name: str) -> list[DatasetVersion]:
        """Return all versions of one dataset, oldest first."""
        numbers = self._numbers(guild, name)
        return each(lambda number: self._read(guild, name, number), numbers)

    def find(self, guild: str, reference: str) -> DatasetVersion:
        """Return the version that `annika@3` names; `annika` alone means the newest.

        Raises:
            RequestError: The reference is not well formed.
            NotFoundError: The guild has no such dataset or version.
        """
        name, number = parse_reference(reference)
        numbers = self._numbers(guild, name)
        if not numbers:
            have = ", ".join(self.names(guild))
            fix = f"Choose one of: {have}." if have else "There are none yet; add one."
            remedy = None if have else AddDataset(name=name)
            raise NotFoundError(f"There is no dataset called {name!r} here.", fix, remedy)
        if number is not None and number not in numbers:
            have = ", ".join(f"{name}@{n}" for n in numbers)
            raise NotFoundError(f"{name} has no version {number}.", f"Choose one of: {have}.")
        return self._read(guild, name, number if number is not None else numbers[-1])

    def captions(self, guild: str, reference: str) -> tuple[DatasetVersion, bytes]:
        """Return a version and its captions as a CSV table.

        Raises:
            NotFoundError: The guild has no such dataset or version.
        """
        version = self.find(guild, reference)
        return version, write_table(self.draft(guild, version).report)

    def difference(
        self, guild: str, old: str, new: str
    ) -> tuple[DatasetVersion, DatasetVersion, Difference]:
        """Return two versions and what changed from one to the other.

        Raises:
            NotFoundError: The guild has no such dataset or version.
        """
        before, after = self.find(guild, old), self.find(guild, new)
        return before, after, compare(self.report(guild, before), self.report(guild, after))

    def report(self, guild: str, version: DatasetVersion, media: Media | None = None) -> Report:
        """Return what was found in a version, for the media it is stored with, or for `media`.

        Raises:
            DatasetError: It can only be used repaired.
        """
        return used_as(self._inspected(guild, version), media or version.media)

    def _inspected(self, guild: str, version: DatasetVersion) -> Report:
        key = f"{self._folder(guild, version)}/{store_keys.REPORT}"
        return Report.model_validate_json(self._store.read(key))

    def _folder(self, guild: str, version: DatasetVersion) -> str:
        return store_keys.dataset(guild, version.name, version.number)

    def thumbnails(self, guild: str, version: DatasetVersion) -> Thumbnails:
        """Return small pictures of the samples of a version."""
        folder = store_keys.dataset(guild, version.name, version.number)
        return Thumbnails.model_validate_json(self._store.read(f"{folder}/{store_keys.THUMBNAILS}"))

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
        self._store.write(f"{store_keys.datasets(guild)}/{name}/{_LAST}", str(last).encode())
        for version in doomed:
            self._store.delete(store_keys.dataset(guild, name, version.number))
            if not self._is_used(guild, version.version):
                self._store.delete(store_keys.prepared(guild, version.version))
        return doomed

    def _is_used(self, guild: str, content: str) -> bool:
        return any(
            version.version == content
            for name in self.names(guild)
            for version in self.versions(guild, name)
        )

    def _store_version(self, guild: str, version: DatasetVersion, draft: DatasetDraft) -> bool:
        """Store a version whole; False when another upload took its number meanwhile."""
        with staging_folder(self._store, guild) as folder:
            write_draft(folder, draft)
            (folder / store_keys.MANIFEST).write_text(version.model_dump_json(indent=2), "utf-8")
            target = store_keys.dataset(guild, version.name, version.number)
            return self._store.put_tree(target, folder)

    def _last(self, guild: str, name: str) -> int:
        try:
            return int(self._store.read(f"{store_keys.datasets(guild)}/{name}/{_LAST}"))
        except FileNotFoundError:
            return 0

    def _numbers(self, guild: str, name: str) -> list[int]:
        return self._complete(f"{store_keys.datasets(guild)}/{name}").get(name, [])

    def _all_numbers(self, guild: str) -> dict[str, list[int]]:
        return self._complete(store_keys.datasets(guild))

    def _complete(self, folder: str) -> dict[str, list[int]]:
        """Return the numbers of the complete versions below a folder, by name: one question."""
        found: dict[str, list[int]] = {}
        for file in self._store.walk(folder):
            *_, name, number, last = file.key.split("/")
            if last == store_keys.MANIFEST and number.isdecimal():
                found.setdefault(name, []).append(int(number))
        return {name: sorted(found[name]) for name in sorted(found)}

    def _read(self, guild: str, name: str, number: int) -> DatasetVersion:
        key = f"{store_keys.dataset(guild, name, number)}/{store_keys.MANIFEST}"
        return DatasetVersion.model_validate_json(self._store.read(key))
