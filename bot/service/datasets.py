"""What the bot does with datasets, for any chat platform."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Concatenate, Literal, ParamSpec

from bot.installation import Installation
from bot.service.threads import in_pool, in_thread
from training.dataset.config.guide_groups import GroupPlan, plan_groups
from training.dataset.original import why_not_original
from training.dataset.report import Media, Report
from training.operations.dataset_removal import DatasetRemovals
from training.registry.checked_uploads import CheckedUploads
from training.registry.dataset_draft import (
    OnProgress,
    Thumbnails,
    Upload,
    no_progress,
    refuse_unusable,
)
from training.registry.dataset_edits import DatasetEdits
from training.registry.datasets import DatasetVersion
from training.runs.spec import check_name, parse_reference

P = ParamSpec("P")
Mode = Literal["new", "add", "replace"]
LOOKS_AT_ONCE = 2  # each decodes on several cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """An inspected dataset.

    Attributes:
        trigger: The word that every caption should contain.
    """

    report: Report
    thumbnails: Thumbnails
    trigger: str | None

    @property
    def groups(self) -> GroupPlan:
        """How the samples would be grouped for training."""
        return plan_groups(self.report)

    @property
    def can_keep_original(self) -> bool:
        """Whether training on the uploaded media is possible and differs from the repaired."""
        is_repaired = not all(sample.is_copied for sample in self.report.samples)
        return is_repaired and why_not_original(self.report) is None

    @property
    def needs_prefix(self) -> str | None:
        """The trigger word, if some captions lack it."""
        return self.trigger if "trigger-missing" in self.report.codes() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDataset:
    """A stored version with its report.

    Attributes:
        same_as: An older version with the same content.
        others: Numbers of the other versions.
        is_new: This request stored it; otherwise the same content was stored before.
    """

    version: DatasetVersion
    looked: Looked
    same_as: str | None
    others: tuple[int, ...]
    is_new: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedDataset:
    """An inspected dataset that was not stored.

    Attributes:
        token: Identifies the upload for a day; None for a stored version.
        version: The stored version that was checked again, if any.
    """

    name: str
    looked: Looked
    token: str | None = None
    version: DatasetVersion | None = None


class DatasetService:
    """The dataset use cases of one installation, each within a guild."""

    def __init__(self, installation: Installation) -> None:
        self._datasets = installation.datasets
        self._checked = CheckedUploads(installation.runtime.store)
        self.edits = DatasetEdits(installation.datasets)
        self.removals = DatasetRemovals(
            installation.runtime, installation.datasets, installation.runs
        )
        # A pool of its own, so that many uploads leave threads for all other commands.
        self._looks = ThreadPoolExecutor(LOOKS_AT_ONCE, thread_name_prefix="look")

    async def add(
        self,
        guild: str,
        name: str,
        upload: Upload,
        *,
        mode: Mode = "new",
        on_progress: OnProgress = no_progress,
    ) -> StoredDataset:
        """Store an upload as the next version, alone or merged with the newest version."""

        def add() -> DatasetVersion:
            if mode == "new":
                return self._datasets.add(guild, name, upload, on_progress)[0]
            is_replacing = mode == "replace"
            return self.edits.extend(
                guild, name, upload, is_replacing=is_replacing, on_progress=on_progress
            )

        return await in_pool(self._looks, self._changed, guild, name, add)

    async def check(
        self, guild: str, name: str, upload: Upload, on_progress: OnProgress = no_progress
    ) -> CheckedDataset:
        """Inspect an upload without storing it as a dataset.

        Raises:
            DatasetRefusedError: It cannot be used.
        """

        def check() -> CheckedDataset:
            check_name("dataset", name)
            draft = self._datasets.inspect(upload, on_progress)
            refuse_unusable(draft.report)
            looked = Looked(report=draft.report, thumbnails=draft.thumbnails, trigger=draft.trigger)
            token = self._checked.keep(guild, name, draft)
            return CheckedDataset(name=name, looked=looked, token=token)

        return await in_pool(self._looks, check)

    async def check_again(
        self, guild: str, reference: str, trigger: str | None, on_progress: OnProgress = no_progress
    ) -> CheckedDataset:
        """Inspect a stored version by the current rules."""

        def check() -> CheckedDataset:
            version, report = self.edits.check_again(guild, reference, trigger, on_progress)
            looked = Looked(
                report=report,
                thumbnails=self._datasets.thumbnails(guild, version),
                trigger=trigger or version.trigger,
            )
            return CheckedDataset(name=version.name, looked=looked, version=version)

        return await in_pool(self._looks, check)

    async def use_checked(
        self, guild: str, token: str, *, media: Media, is_prefixed: bool, by: str
    ) -> StoredDataset:
        """Store an upload that was checked.

        Raises:
            NotFoundError: It has expired.
        """
        name, draft = await in_thread(self._checked.find, guild, token)

        def use() -> DatasetVersion:
            chosen = draft.with_prefix() if is_prefixed else draft
            return self._datasets.store(guild, name, chosen.with_media(media, by=by))

        return await in_thread(self._changed, guild, name, use)

    async def edit(
        self,
        edit: Callable[Concatenate[str, str, P], DatasetVersion],
        guild: str,
        reference: str,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> StoredDataset:
        """Make a new version with one of the `edits`."""

        def change() -> DatasetVersion:
            return edit(guild, reference, *args, **kwargs)

        return await in_thread(self._changed, guild, reference, change)

    async def show(self, guild: str, reference: str) -> StoredDataset:
        """Return one version with its report."""

        def show() -> StoredDataset:
            return self._described(guild, self._datasets.find(guild, reference), is_new=False)

        return await in_thread(show)

    def _changed(
        self, guild: str, reference: str, change: Callable[[], DatasetVersion]
    ) -> StoredDataset:
        name = parse_reference(reference)[0]
        before = {version.number for version in self._datasets.versions(guild, name)}
        version = change()
        return self._described(guild, version, is_new=version.number not in before)

    def _described(self, guild: str, version: DatasetVersion, *, is_new: bool) -> StoredDataset:
        datasets = self._datasets
        others = [o for o in datasets.versions(guild, version.name) if o.number != version.number]
        same = [str(other.ref) for other in others if other.version == version.version]
        looked = Looked(
            report=datasets.report(guild, version),
            thumbnails=datasets.thumbnails(guild, version),
            trigger=version.trigger,
        )
        return StoredDataset(
            version=version,
            looked=looked,
            same_as=same[-1] if same else None,
            others=tuple(other.number for other in others),
            is_new=is_new,
        )
