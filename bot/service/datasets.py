"""The use cases for datasets, on any chat platform."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Concatenate, ParamSpec

from bot.installation import Installation
from bot.service.rights import GuildMember, Rights
from bot.service.threads import in_pool, in_thread
from training.dataset.captions.table import read_table, write_table
from training.dataset.config.guide_groups import GroupPlan, plan_groups
from training.dataset.difference import Difference
from training.dataset.original import why_not_original
from training.dataset.recaption import check_trigger
from training.dataset.report import Media, OnProgress, Report, no_progress
from training.errors import RequestError
from training.operations.trash.dataset_removal import PlannedRemoval
from training.registry.checked_uploads import CheckedUploads
from training.registry.dataset_draft import (
    DatasetDraft,
    Thumbnails,
    TriggerChange,
    Upload,
    UploadMode,
    leave_out,
    leave_out_bad_files,
    read_layout,
    refuse_unusable,
    with_trigger_only,
)
from training.registry.dataset_edits import CaptionChange, DatasetEdits
from training.registry.datasets import DatasetVersion
from training.registry.trash import Removal
from training.registry.uploads.session import DatasetTarget
from training.runs.spec import check_name, parse_reference

P = ParamSpec("P")
INSPECTIONS_AT_ONCE = 2  # few, because each inspection uses several cores for decoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The result of inspecting a dataset.

    Attributes:
        trigger: The trigger word, which every caption should contain.
    """

    report: Report
    thumbnails: Thumbnails
    trigger: str | None

    @property
    def groups(self) -> GroupPlan:
        """Return how the samples would be grouped for training."""
        return plan_groups(self.report)

    @property
    def can_keep_original(self) -> bool:
        """Return whether some files were repaired and the original files could be used instead."""
        is_repaired = not all(sample.is_copied for sample in self.report.samples)
        return is_repaired and why_not_original(self.report) is None

    @property
    def needs_prefix(self) -> str | None:
        """Return the trigger word if some captions lack it, else None."""
        return self.trigger if "trigger-missing" in self.report.codes() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDataset:
    """A stored version with its report.

    Attributes:
        same_as: Another version with the same content, such as `annika@2`; None if there is none.
        others: Numbers of the other versions.
        is_new: Whether this request stored the version; False if its content was already stored.
    """

    version: DatasetVersion
    inspection: Inspection
    same_as: str | None
    others: tuple[int, ...]
    is_new: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedDataset:
    """The result of checking an upload or rechecking a stored version; no new version is stored.

    Attributes:
        token: Identifies the upload and is valid for one day; None for a stored version.
        version: The stored version, or None for an upload.
    """

    name: str
    inspection: Inspection
    token: str | None = None
    version: DatasetVersion | None = None


class DatasetService:
    """The dataset use cases of one installation. Each call concerns one guild.

    Every method that may change a stored dataset takes the person who requests the change, and
    raises `RequestError` unless they may make it.
    """

    def __init__(self, installation: Installation, rights: Rights) -> None:
        self._rights = rights
        self._datasets = installation.datasets
        self._checked = CheckedUploads(installation.runtime.store)
        self.edits = DatasetEdits(installation.datasets)
        self._removals = installation.dataset_removals
        # Inspections have their own threads, so that many uploads cannot block other commands.
        self._inspections = ThreadPoolExecutor(INSPECTIONS_AT_ONCE, thread_name_prefix="inspect")

    async def add(
        self,
        person: GuildMember,
        name: str,
        upload: Upload,
        *,
        mode: UploadMode = "new",
        ignores_layout: bool = False,
        on_progress: OnProgress = no_progress,
    ) -> StoredDataset | CheckedDataset:
        """Store an upload as the next version, alone or merged with the newest version.

        Two kinds of uploads are not stored yet, but kept until the user decides: those that become
        usable by leaving out files or writing captions, and those whose layout would be lost
        (unless `ignores_layout`).
        """

        def add() -> StoredDataset | CheckedDataset:
            # Check this first, because inspecting the files takes a long time.
            self.require_may_add(person, name, mode)
            found = self._datasets.inspect_for(person.guild, name, upload, on_progress)
            draft = replace(found, mode=mode)
            needs_layout = _needs_layout(draft) and not ignores_layout
            if draft.report.can_be_settled or needs_layout:
                return self._kept(person.guild, name, draft)
            return self._stored(person, name, draft, is_prefixed=upload.is_prefixed)

        return await in_pool(self._inspections, add)

    def require_may_add(self, person: GuildMember, name: str, mode: UploadMode) -> None:
        """Raise `TrainingError` unless the person may store files under this name."""
        if mode == "new":
            check_name("dataset", name)
        else:
            self._datasets.find(person.guild, name)
        self._require_owner(person, name, act="replace")

    def require_trigger(self, person: GuildMember, target: DatasetTarget) -> None:
        """Raise `RequestError` if an upload's trigger word is malformed, or missing but needed."""
        self._datasets.trigger_for(
            person.guild, target.name, target.trigger, is_needed=target.is_prefixed
        )

    async def check(
        self, guild: str, name: str, upload: Upload, on_progress: OnProgress = no_progress
    ) -> CheckedDataset:
        """Inspect an upload without storing it as a dataset.

        Raises:
            DatasetRefusedError: The upload is unusable even if files are left out or captions
                added.
        """

        def check() -> CheckedDataset:
            check_name("dataset", name)
            draft = self._datasets.inspect_for(guild, name, upload, on_progress)
            if not draft.report.can_be_settled and not _needs_layout(draft):
                refuse_unusable(draft.report)
            return self._kept(guild, name, draft)

        return await in_pool(self._inspections, check)

    async def check_again(
        self, guild: str, reference: str, trigger: str | None, on_progress: OnProgress = no_progress
    ) -> CheckedDataset:
        """Inspect a stored version again, with the current rules."""

        def check() -> CheckedDataset:
            version, report = self.edits.check_again(guild, reference, trigger, on_progress)
            inspection = Inspection(
                report=report,
                thumbnails=self._datasets.thumbnails(guild, version),
                trigger=trigger or version.trigger,
            )
            return CheckedDataset(name=version.name, inspection=inspection, version=version)

        return await in_pool(self._inspections, check)

    async def read_checked(self, person: GuildMember, token: str) -> CheckedDataset:
        """Read a checked upload again, now using the layout that was found in it.

        Raises:
            NotFoundError: The upload has expired.
            DatasetRefusedError: The upload is unusable with this layout too.
        """

        def read() -> CheckedDataset:
            name, draft = self._find_checked(person, token)
            found = read_layout(draft, by=draft.by, limits=self._datasets.limits)
            if not found.report.can_be_settled:
                refuse_unusable(found.report)
            return self._kept(person.guild, name, found)

        return await in_pool(self._inspections, read)

    async def use_checked(
        self, person: GuildMember, token: str, *, media: Media, is_prefixed: bool
    ) -> StoredDataset:
        """Store a checked upload.

        Raises:
            NotFoundError: The upload has expired.
        """

        def use() -> StoredDataset:
            name, draft = self._find_checked(person, token)
            chosen = draft.with_prefix() if is_prefixed else draft
            return self._stored(person, name, chosen.with_media(media, by=draft.by))

        return await in_thread(use)

    async def waiting(self, guild: str, name: str) -> str | None:
        """Return the token of the upload called `name` that waits for captions.

        Returns:
            None if there is no such upload, or if a dataset called `name` was stored later.
        """

        def find() -> str | None:
            found = self._checked.waiting(guild, name)
            if found is None:
                return None
            token, checked_at = found
            stored = self._datasets.versions(guild, name) if "@" not in name else []
            return None if stored and stored[-1].added_at > checked_at else token

        return await in_thread(find)

    async def captions(self, guild: str, reference: str) -> tuple[DatasetVersion, bytes]:
        """Return a version and its captions as a CSV table."""
        return await in_thread(self._datasets.captions, guild, reference)

    async def waiting_table(self, guild: str, token: str) -> tuple[str, bytes]:
        """Return the name and the caption table (CSV) of an upload that waits for captions."""

        def write() -> tuple[str, bytes]:
            name, draft = self._checked.find(guild, token)
            return name, write_table(draft.report)

        return await in_thread(write)

    async def write_captions(
        self, person: GuildMember, token: str, table: bytes, *, trigger: str | None
    ) -> StoredDataset | CheckedDataset:
        """Fill in captions of a waiting upload, and store it once no caption is missing.

        Raises:
            NotFoundError: The upload has expired.
            TableRefusedError: A row does not match the upload; nothing is changed.
        """

        def write(draft: DatasetDraft) -> DatasetDraft:
            word = check_trigger(trigger) if trigger is not None else draft.trigger
            captions = read_table(table, draft.report).captions
            return draft.with_captions(captions, word)

        return await in_thread(self._settled, person, token, write)

    async def set_trigger(
        self, person: GuildMember, token: str, trigger: TriggerChange
    ) -> StoredDataset | CheckedDataset:
        """Set the trigger word of an upload that waits for captions.

        `trigger` also says whether to prefix the word to captions, or to replace an older word.

        Raises:
            RequestError: The trigger word is missing or invalid, or no caption contains the older
                word.
        """

        def change(draft: DatasetDraft) -> DatasetDraft:
            return draft.with_trigger(trigger)

        return await in_thread(self._settled, person, token, change)

    async def leave_out(self, person: GuildMember, token: str) -> StoredDataset | CheckedDataset:
        """Leave out an upload's samples that lack a caption, and store the others."""

        def change(draft: DatasetDraft) -> DatasetDraft:
            return leave_out(draft, by=draft.by, limits=self._datasets.limits)

        return await in_pool(self._inspections, self._settled, person, token, change)

    async def leave_out_bad_files(
        self, person: GuildMember, token: str
    ) -> StoredDataset | CheckedDataset:
        """Leave an upload's unusable files out, and store it if no caption is missing."""

        def change(draft: DatasetDraft) -> DatasetDraft:
            return leave_out_bad_files(draft, by=draft.by, limits=self._datasets.limits)

        return await in_pool(self._inspections, self._settled, person, token, change)

    async def kept(self, guild: str, token: str) -> CheckedDataset:
        """Return an upload that is kept until the user decides what to do with it."""
        name, draft = await in_thread(self._checked.find, guild, token)
        return _checked(name, draft, token)

    async def use_trigger_only(
        self, person: GuildMember, token: str
    ) -> StoredDataset | CheckedDataset:
        """Store an upload that lacks captions, using the trigger word for each missing caption."""

        def change(draft: DatasetDraft) -> DatasetDraft:
            return with_trigger_only(draft, by=draft.by)

        return await in_thread(self._settled, person, token, change)

    def require_may_edit(self, person: GuildMember, name: str) -> None:
        """Raise `TrainingError` unless the dataset exists and the person may change it."""
        self._datasets.find(person.guild, name)
        self._require_owner(person, name, act="replace")

    def find_storable(self, person: GuildMember, token: str) -> tuple[str, DatasetDraft] | None:
        """Return the name and the draft of a waiting upload that can be stored without captions.

        Returns:
            None if the upload needs other decisions, or is to be merged with a stored version.

        Raises:
            RequestError: The person may not use the upload, or it has expired.
        """
        name, draft = self._find_checked(person, token)
        self._require_owner(person, name, act="replace")
        is_alone = draft.mode == "new" and not _needs_layout(draft)
        return (name, draft) if is_alone and draft.report.lacks_only_captions else None

    def store_incomplete(self, person: GuildMember, token: str) -> StoredDataset:
        """Store a waiting upload as a version that lacks captions; see `find_storable`."""
        found = self.find_storable(person, token)
        if found is None:
            raise RequestError(
                "This upload needs other decisions first.", "Use the buttons on its card."
            )
        name, draft = found

        def store() -> DatasetVersion:
            return self._datasets.store(person.guild, name, draft, allows_missing_captions=True)

        return self._changed(person, name, store)

    def change_captions(
        self, person: GuildMember, name: str, changes: Sequence[CaptionChange]
    ) -> tuple[StoredDataset, tuple[CaptionChange, ...]]:
        """Change captions as `DatasetEdits.change_captions` does."""
        refused: list[CaptionChange] = []

        def change() -> DatasetVersion:
            version, others = self.edits.change_captions(person.guild, name, changes, by=person.id)
            refused.extend(others)
            return version

        return self._changed(person, name, change), tuple(refused)

    async def difference(
        self, guild: str, old: str, new: str
    ) -> tuple[DatasetVersion, DatasetVersion, Difference]:
        """Return the versions that two references name, and the changes from `old` to `new`."""
        return await in_thread(self._datasets.difference, guild, old, new)

    async def edit(
        self,
        edit: Callable[Concatenate[str, str, P], DatasetVersion],
        person: GuildMember,
        reference: str,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> StoredDataset:
        """Create a new version with `edit`, a method of `edits` such as `edits.set_trigger`."""

        def change() -> DatasetVersion:
            return edit(person.guild, reference, *args, **kwargs)

        return await in_thread(self._changed, person, reference, change)

    async def ask_to_remove(self, person: GuildMember, reference: str) -> PlannedRemoval:
        """Return what removing a version or a whole dataset would remove."""

        def ask() -> PlannedRemoval:
            self._require_owner(person, reference, act="remove")
            return self._removals.plan(person.guild, reference)

        return await in_thread(ask)

    async def remove(self, person: GuildMember, reference: str, *, is_whole: bool) -> Removal:
        """Remove a version of a dataset.

        If `is_whole`, remove the whole dataset; `reference` must then be its newest version, or
        nothing is removed.
        """

        def remove() -> Removal:
            self._require_owner(person, reference, act="remove")
            change = self._removals.remove_all if is_whole else self._removals.remove
            return change(person.guild, reference, by=person.id)

        return await in_thread(remove)

    async def show(self, guild: str, reference: str) -> StoredDataset:
        version = await in_thread(self._datasets.find, guild, reference)
        return await in_thread(self._described, guild, version, is_new=False)

    def _settled(
        self, person: GuildMember, token: str, change: Callable[[DatasetDraft], DatasetDraft]
    ) -> StoredDataset | CheckedDataset:
        """Change a kept upload, and store it once it needs no more decisions."""
        name, draft = self._find_checked(person, token)
        changed = change(draft)
        if changed.report.can_be_settled or _needs_layout(changed):
            return self._kept(person.guild, name, changed)
        return self._stored(person, name, changed)

    def _find_checked(self, person: GuildMember, token: str) -> tuple[str, DatasetDraft]:
        """Return the name and the draft of a checked upload.

        Raises:
            RequestError: The person may not use the upload.
        """
        name, draft = self._checked.find(person.guild, token)
        self._rights.require_owner(person, draft.by, what=f"The upload {name}", act="use")
        return name, draft

    def _require_owner(self, person: GuildMember, reference: str, *, act: str) -> None:
        """Raise `RequestError` if the dataset exists and the person may not change it."""
        name = parse_reference(reference)[0]
        owner = self._datasets.owner(person.guild, name)
        if owner is not None:
            self._rights.require_owner(person, owner, what=f"The dataset {name}", act=act)

    def _kept(self, guild: str, name: str, draft: DatasetDraft) -> CheckedDataset:
        return _checked(name, draft, self._checked.keep(guild, name, draft))

    def _stored(
        self, person: GuildMember, name: str, draft: DatasetDraft, *, is_prefixed: bool = False
    ) -> StoredDataset:
        def store() -> DatasetVersion:
            if draft.mode == "new":
                return self._datasets.store(person.guild, name, draft)
            return self.edits.join(person.guild, name, draft, is_prefixed=is_prefixed)

        return self._changed(person, name, store)

    def _changed(
        self, person: GuildMember, reference: str, change: Callable[[], DatasetVersion]
    ) -> StoredDataset:
        self._require_owner(person, reference, act="replace")
        name = parse_reference(reference)[0]
        before = {version.number for version in self._datasets.versions(person.guild, name)}
        version = change()
        return self._described(person.guild, version, is_new=version.number not in before)

    def _described(self, guild: str, version: DatasetVersion, *, is_new: bool) -> StoredDataset:
        datasets = self._datasets
        others = [o for o in datasets.versions(guild, version.name) if o.number != version.number]
        same = [str(other.ref) for other in others if other.version == version.version]
        inspection = Inspection(
            report=datasets.report(guild, version),
            thumbnails=datasets.thumbnails(guild, version),
            trigger=version.trigger,
        )
        return StoredDataset(
            version=version,
            inspection=inspection,
            same_as=same[-1] if same else None,
            others=tuple(other.number for other in others),
            is_new=is_new,
        )


def _checked(name: str, draft: DatasetDraft, token: str) -> CheckedDataset:
    inspection = Inspection(report=draft.report, thumbnails=draft.thumbnails, trigger=draft.trigger)
    return CheckedDataset(name=name, inspection=inspection, token=token)


def _needs_layout(draft: DatasetDraft) -> bool:
    """Return whether the user must now accept or decline the layout found in the files.

    This is the case if the files are unusable without the layout, or if they are about to be merged
    with a stored version, because merging loses the layout.
    """
    is_last_chance = draft.mode != "new" or not draft.report.is_usable
    return is_last_chance and draft.report.has_unread_layout
