"""The datasets of all guilds. Every upload or edit is stored atomically as a new version."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from training import store_keys
from training.dataset.captions.origin import CaptionOrigin
from training.dataset.captions.table import write_table
from training.dataset.difference import Difference, compare
from training.dataset.limits import Limits
from training.dataset.original import used_as
from training.dataset.recaption import check_trigger
from training.dataset.report import Media, OnProgress, Report, no_progress
from training.errors import DatasetError, NotFoundError, RequestError, TrainingError
from training.files.parallel import each
from training.ports import Store
from training.records import both, copy_of, read_each, read_record
from training.registry.dataset_draft import (
    DatasetDraft,
    Thumbnails,
    Upload,
    inspect_upload,
    no_trigger,
    read_captions,
    read_draft,
    refuse_unusable,
    trigger_kept,
    write_draft,
)
from training.registry.remade import remake
from training.registry.staged import staging_folder
from training.registry.trash import Trash
from training.remedies import AddDataset, WriteCaptions
from training.runs.spec import DatasetRef, check_name, parse_reference
from training.wording import did_you_mean

_LAST = "last"
_MANIFESTS = (store_keys.MANIFEST, copy_of(store_keys.MANIFEST))
_ADD_AGAIN = "Add the zip again as a new version."
logger = logging.getLogger(__name__)


class NewerVersionError(RequestError):
    """A change was made to a version that is no longer the newest."""


class DatasetVersion(BaseModel):
    """The record of a stored version. If the record exists, the version is complete.

    Attributes:
        version: The content id; see `content_id`.
        trigger: A word that every caption should contain; None if there is none.
        media: "repaired", or "original" if training reads the files as uploaded.
        without_caption: Number of samples that still lack a caption. No run can train on a version
            with such samples.
        edited_captions: Number of captions that differ from those in the zip.
        accepted_captions: How many of these are accepted proposals of a captioner, unchanged.
        change: How this version was made, such as "uploaded".
        owner: The user who may replace and remove the dataset; None in versions that were stored
            before datasets had owners.
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
    without_caption: int = 0
    edited_captions: int = 0
    accepted_captions: int = 0
    change: str = "uploaded"
    owner: str | None = None

    @property
    def ref(self) -> DatasetRef:
        return DatasetRef(
            name=self.name, number=self.number, version=self.version, media=self.media
        )


class Datasets:
    """The datasets of all guilds in one store.

    Unless a method says otherwise, versions in the trash are left out. A method that takes a
    reference such as `annika@3` raises `NotFoundError` if the guild has no such version.
    """

    def __init__(self, store: Store, limits: Limits | None = None) -> None:
        self._store = store
        self._trash = Trash(store)
        self.limits = limits or Limits()

    def add(
        self, guild: str, name: str, upload: Upload, on_progress: OnProgress = no_progress
    ) -> tuple[DatasetVersion, Report]:
        """Inspect an upload and store it as the next version of the dataset `name`.

        Raises:
            RequestError: The name is invalid.
            DatasetError: The upload cannot be used; nothing is stored.
        """
        check_name("dataset", name)
        draft = self.inspect_for(guild, name, upload, on_progress)
        return self.store(guild, name, draft), draft.report

    def inspect(self, upload: Upload, on_progress: OnProgress = no_progress) -> DatasetDraft:
        """Inspect an upload with the limits of this installation; see `inspect_upload`."""
        return inspect_upload(upload, on_progress, self.limits)

    def inspect_for(
        self, guild: str, reference: str, upload: Upload, on_progress: OnProgress = no_progress
    ) -> DatasetDraft:
        """Inspect an upload to a dataset; if the upload has no trigger word, use the dataset's.

        Raises:
            RequestError: The reference is malformed, the trigger word is malformed, or a trigger
                word is needed but missing.
        """
        is_needed = upload.is_prefixed or upload.uses_trigger_only
        word = self.trigger_for(guild, reference, upload.trigger, is_needed=is_needed)
        draft = self.inspect(replace(upload, trigger=word), on_progress)
        change = draft.change + trigger_kept(draft.trigger, self._trigger(guild, reference))
        return replace(draft, change=change)

    def trigger_for(
        self, guild: str, reference: str, given: str | None, *, is_needed: bool
    ) -> str | None:
        """Return the trigger word of an upload to a dataset: the given one, or else the dataset's.

        Raises:
            RequestError: The word is malformed; or `is_needed` is True, but neither the upload nor
                the dataset has a word.
        """
        word = check_trigger(given) if given is not None else self._trigger(guild, reference)
        if word is None and is_needed:
            raise no_trigger()
        return word

    def _trigger(self, guild: str, reference: str) -> str | None:
        """Return a version's trigger word; None without one, or if the version cannot be read."""
        name, number = parse_reference(reference)
        numbers, _ = self._numbers(guild, name)
        wanted = number if number is not None else max(numbers, default=0)
        version = self._readable(guild, name, wanted) if wanted in numbers else None
        return version and version.trigger

    def store(
        self,
        guild: str,
        name: str,
        draft: DatasetDraft,
        *,
        allows_missing_captions: bool = False,
        follows: int | None = None,
    ) -> DatasetVersion:
        """Store a draft as the next version; if it equals the newest version, return that one.

        Simultaneous uploads of the same zip therefore create a single version.

        Args:
            guild: The guild.
            name: The dataset's name.
            draft: The content of the version.
            allows_missing_captions: Whether the version may lack captions.
            follows: The number of the version that must be the newest; None allows any.

        Raises:
            RequestError: The name is invalid.
            DatasetRefusedError: A finding of the report is an error that is not allowed.
            NewerVersionError: Another version than `follows` is the newest.
        """
        check_name("dataset", name)
        if not (allows_missing_captions and draft.report.lacks_only_captions):
            refuse_unusable(draft.report)
        content = used_as(draft.report, draft.media).version
        while True:
            numbers, used = self._numbers(guild, name)
            if follows is not None and numbers[-1:] != [follows]:
                raise NewerVersionError(
                    f"{name} has changed in the meantime.", "Look at it again, then repeat this."
                )
            newest = self._readable(guild, name, numbers[-1]) if numbers else None
            if newest and (newest.version, newest.trigger) == (content, draft.trigger):
                return newest
            version = DatasetVersion(
                name=name,
                number=max(self._last(guild, name), *used, 0) + 1,
                version=content,
                images=len(draft.report.images),
                clips=len(draft.report.clips),
                added_at=datetime.now(UTC),
                added_by=draft.by,
                file_name=draft.file_name,
                trigger=draft.trigger,
                media=draft.media,
                without_caption=len(draft.report.without_caption),
                edited_captions=len(draft.captions),
                accepted_captions=sum(
                    caption.origin == "accepted" for caption in draft.captions.values()
                ),
                change=draft.change,
                owner=self.owner(guild, name) or draft.by,
            )
            if self._store_version(guild, version, draft):
                return version

    def draft(self, guild: str, version: DatasetVersion) -> DatasetDraft:
        """Return a stored version as a draft from which a new version can be made."""
        folder, by = _folder(guild, version), version.added_by
        try:
            draft = read_draft(self._store, folder, by=by, file_name=version.file_name)
        except (FileNotFoundError, ValidationError):
            draft = self._remade(guild, version)
        return replace(draft, trigger=version.trigger, media=version.media, change=version.change)

    def names(self, guild: str) -> list[str]:
        return list(self._all(guild))

    def newest(self, guild: str) -> tuple[list[DatasetVersion], list[TrainingError]]:
        """Return each dataset's newest version, and an error for each whose record is damaged."""
        found = [(name, numbers[-1]) for name, numbers in self._all(guild).items()]
        return read_each(lambda one: self._read(guild, *one), found)

    def versions(self, guild: str, name: str) -> list[DatasetVersion]:
        numbers, _ = self._numbers(guild, name)
        found = each(lambda number: self._readable(guild, name, number), numbers)
        return [version for version in found if version is not None]

    def find(self, guild: str, reference: str) -> DatasetVersion:
        """Return the version that a reference names: `annika@3`, or `annika` for the newest.

        Raises:
            RequestError: The reference is malformed.
        """
        name, number = parse_reference(reference)
        numbers, used = self._numbers(guild, name)
        wanted = used[-1:] if number is None else [number]
        if not numbers or number not in (None, *numbers):
            self._trash.refuse_removed(
                guild, "datasets", [f"{name}@{one}" for one in wanted], name=reference.strip()
            )
        if not numbers:
            names = self.names(guild)
            choose = did_you_mean(name, names) or f"Choose one of: {', '.join(names)}."
            raise NotFoundError(
                f"There is no dataset called {name!r} here.",
                choose if names else "There are no datasets yet; add one.",
                None if names else AddDataset(name=name),
            )
        if number is not None and number not in numbers:
            have = ", ".join(f"{name}@{n}" for n in numbers)
            raise NotFoundError(f"{name} has no version {number}.", f"Choose one of: {have}.")
        return self._read(guild, name, number if number is not None else numbers[-1])

    def find_complete(self, guild: str, reference: str) -> DatasetVersion:
        """Return the version that a reference names, if no sample lacks a caption; see `find`.

        Raises:
            RequestError: Some samples lack a caption.
        """
        version = self.find(guild, reference)
        if missing := version.without_caption:
            lack = "1 sample lacks" if missing == 1 else f"{missing} samples lack"
            raise RequestError(
                f"{version.ref} cannot be trained on yet: {lack} a caption.",
                "Write the captions, or leave these samples out.",
                WriteCaptions(name=str(version.ref)),
            )
        return version

    def owner(self, guild: str, name: str) -> str | None:
        """Return the owner of a dataset, even if it is in the trash; None if it does not exist."""
        _, used = self._numbers(guild, name)
        if not used:
            return None
        newest, first = (self._readable(guild, name, number) for number in (used[-1], used[0]))
        return (newest and newest.owner) or (first and first.added_by)

    def captions(self, guild: str, reference: str) -> tuple[DatasetVersion, bytes]:
        """Return a version and its captions as a CSV table."""
        version = self.find(guild, reference)
        return version, write_table(self.draft(guild, version).report)

    def difference(
        self, guild: str, old: str, new: str
    ) -> tuple[DatasetVersion, DatasetVersion, Difference]:
        """Return the versions that two references name, and the changes from `old` to `new`."""
        before, after = self.find(guild, old), self.find(guild, new)
        captions = read_captions(self._store, _folder(guild, after))
        origins: dict[str, CaptionOrigin] = {n: caption.origin for n, caption in captions.items()}
        found = compare(self.report(guild, before), self.report(guild, after), origins)
        return before, after, found

    def report(self, guild: str, version: DatasetVersion, media: Media | None = None) -> Report:
        """Return the report on a version.

        By default, the report describes the files that the version trains on. `media` asks for the
        report on the "repaired" or the "original" files instead.

        Raises:
            DatasetError: The trainer cannot read the original files.
        """
        key = f"{_folder(guild, version)}/{store_keys.REPORT}"
        try:
            report = Report.model_validate_json(self._store.read(key))
        except (FileNotFoundError, ValidationError):
            report = self._remade(guild, version).report
        return used_as(report, media or version.media)

    def thumbnails(self, guild: str, version: DatasetVersion) -> Thumbnails:
        key = f"{_folder(guild, version)}/{store_keys.THUMBNAILS}"
        try:
            return Thumbnails.model_validate_json(self._store.read(key))
        except (FileNotFoundError, ValidationError):
            return self._remade(guild, version).thumbnails

    def _remade(self, guild: str, version: DatasetVersion) -> DatasetDraft:
        """Rebuild a version's draft from its zip, because a file made from the zip is damaged.

        Raises:
            DatasetError: The zip or the edited captions are damaged, too.
        """
        folder = _folder(guild, version)
        try:
            archive = self._store.fetch(f"{folder}/{store_keys.ORIGINAL}")
        except FileNotFoundError as error:
            raise DatasetError(f"The zip of {version.ref} is missing.", _ADD_AGAIN) from error

        def is_right(draft: DatasetDraft) -> bool:
            try:
                return used_as(draft.report, version.media).version == version.version
            except DatasetError:
                return False

        upload = Upload(
            archive=archive,
            by=version.added_by,
            file_name=version.file_name,
            trigger=version.trigger,
        )
        captions = read_captions(self._store, folder)
        return remake(self._store, folder, upload, captions, limits=self.limits, is_right=is_right)

    def delete(self, guild: str, name: str, number: int) -> None:
        """Delete a version permanently; keep its repaired files if another version uses them.

        The number is never used again, so that `annika@3` never means two different versions.
        """
        last = max(self._last(guild, name), number)
        self._store.write(f"{store_keys.datasets(guild)}/{name}/{_LAST}", str(last).encode())
        contents = self._contents(guild)
        content = contents.pop((name, number), None)
        if not any(other == name for other, _ in contents):
            self._store.delete(store_keys.proposals(guild, name))
        if content is not None and content not in contents.values():
            self._store.delete(store_keys.prepared(guild, content))
        self._store.delete(store_keys.dataset(guild, name, number))

    def _contents(self, guild: str) -> dict[tuple[str, int], str]:
        """Return the content ids of all versions, removed ones too, keyed by name and number."""
        found = self._complete(store_keys.datasets(guild)).items()
        pairs = [(name, number) for name, numbers in found for number in numbers]
        versions = each(lambda pair: self._readable(guild, *pair), pairs)
        found = zip(pairs, versions, strict=True)
        return {pair: version.version for pair, version in found if version is not None}

    def _store_version(self, guild: str, version: DatasetVersion, draft: DatasetDraft) -> bool:
        """Store a version atomically; return False if another upload has taken its number."""
        with staging_folder(self._store, guild) as folder:
            write_draft(folder, draft)
            for name, data in both(store_keys.MANIFEST, version).items():
                (folder / name).write_bytes(data)
            return self._store.put_tree(_folder(guild, version), folder)

    def _last(self, guild: str, name: str) -> int:
        try:
            return int(self._store.read(f"{store_keys.datasets(guild)}/{name}/{_LAST}"))
        except FileNotFoundError:
            return 0
        except ValueError as error:
            raise DatasetError(
                f"The record of deleted versions of {name} is damaged, so a new version could get "
                "the number of an old one.",
                "Add the files under another name.",
            ) from error

    def _all(self, guild: str) -> dict[str, list[int]]:
        """Return the numbers of each dataset's versions, keyed by the dataset's name."""
        removed = self._trash.items(guild, "datasets")
        found = self._complete(store_keys.datasets(guild)).items()
        kept = {name: [n for n in used if f"{name}@{n}" not in removed] for name, used in found}
        return {name: numbers for name, numbers in kept.items() if numbers}

    def _numbers(self, guild: str, name: str) -> tuple[list[int], list[int]]:
        """Return the numbers of a dataset's versions outside the trash, and of all its versions."""
        # Read the trash before the versions. Otherwise a removed version that is permanently
        # deleted between the two reads would be found among the versions but not in the trash, and
        # would look as if it had been restored.
        removed = self._trash.items(guild, "datasets")
        used = self._complete(f"{store_keys.datasets(guild)}/{name}").get(name, [])
        return [number for number in used if f"{name}@{number}" not in removed], used

    def _complete(self, folder: str) -> dict[str, list[int]]:
        """Return the numbers of each dataset's complete versions, keyed by the dataset's name.

        This takes a single listing of `folder`, however many datasets there are.
        """
        found: dict[str, set[int]] = {}
        for file in self._store.walk(folder):
            *_, name, number, last = file.key.split("/")
            if last in _MANIFESTS and number.isdecimal():
                found.setdefault(name, set()).add(int(number))
        return {name: sorted(found[name]) for name in sorted(found)}

    def _read(self, guild: str, name: str, number: int) -> DatasetVersion:
        key = f"{store_keys.dataset(guild, name, number)}/{store_keys.MANIFEST}"
        try:
            return read_record(self._store, key, DatasetVersion)
        except (FileNotFoundError, ValueError) as error:
            raise DatasetError(
                f"The record of the dataset {name}@{number} is damaged.",
                "Add the version's zip again; the other versions can be used as before.",
                AddDataset(name=name),
            ) from error

    def _readable(self, guild: str, name: str, number: int) -> DatasetVersion | None:
        """Return a version; if its record is damaged, log the error and return None."""
        try:
            return self._read(guild, name, number)
        except DatasetError as error:
            logger.error("%s", error.cause)  # noqa: TRY400  # expected: no traceback
            return None


def _folder(guild: str, version: DatasetVersion) -> str:
    return store_keys.dataset(guild, version.name, version.number)
