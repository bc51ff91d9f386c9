"""What the bot can do with datasets, for any chat platform."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, ParamSpec, TypeVar

from bot.installation import Installation
from bot.messages.dataset_text import report_text
from bot.service.dataset_views import CheckedDataset, StoredDataset, look
from training.dataset.captions.table import write_table
from training.dataset.difference import Difference, compare
from training.dataset.report import Media, Report
from training.operations.dataset_removal import DatasetRemovals, Removal
from training.registry.checked_uploads import CheckedUploads
from training.registry.dataset_draft import OnProgress, Upload, no_progress, refuse_unusable
from training.registry.dataset_edits import DatasetEdits
from training.registry.datasets import DatasetVersion
from training.runs.spec import check_name, parse_reference

P = ParamSpec("P")
T = TypeVar("T")
Mode = Literal["new", "add", "replace"]
LOOKS_AT_ONCE = 2  # each decodes on several cores


class DatasetService:
    """The use cases of datasets in one installation; everything is asked for within a guild."""

    def __init__(self, local: Installation) -> None:
        self._local = local
        self._datasets = local.datasets
        self._edits = DatasetEdits(local.datasets)
        self._checked = CheckedUploads(local.runtime.store)
        self._removals = DatasetRemovals(local.runtime, local.datasets, local.runs)
        # Threads of their own: many uploads at once leave those of all other commands free.
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
        """Store an upload as the next version of a dataset, by itself or with what is there."""

        def add() -> DatasetVersion:
            if mode == "new":
                return self._datasets.add(guild, name, upload, on_progress)[0]
            is_replacing = mode == "replace"
            return self._edits.extend(
                guild, name, upload, is_replacing=is_replacing, on_progress=on_progress
            )

        return await self._look(self._describe_change, guild, name, add)

    async def check(
        self, guild: str, name: str, upload: Upload, on_progress: OnProgress = no_progress
    ) -> CheckedDataset:
        """Look at an upload without making a dataset of it.

        Raises:
            DatasetRefusedError: It cannot be used.
        """

        def check() -> CheckedDataset:
            check_name("dataset", name)
            draft = self._datasets.inspect(upload, on_progress)
            refuse_unusable(draft.report)
            token = self._checked.keep(guild, name, draft)
            looked = look(draft.report, draft.thumbnails, draft.trigger)
            return CheckedDataset(name=name, looked=looked, token=token)

        return await self._look(check)

    async def check_again(
        self, guild: str, reference: str, trigger: str | None, on_progress: OnProgress = no_progress
    ) -> CheckedDataset:
        """Look at a stored version by today's rules."""

        def check() -> CheckedDataset:
            edits, datasets = self._edits, self._datasets
            version, report = edits.check_again(guild, reference, trigger, on_progress)
            word = trigger or version.trigger
            looked = look(report, datasets.thumbnails(guild, version), word)
            return CheckedDataset(name=version.name, looked=looked, version=version)

        return await self._look(check)

    async def use_checked(
        self, guild: str, token: str, *, media: Media, is_prefixed: bool, by: str
    ) -> StoredDataset:
        """Store an upload that was checked.

        Raises:
            NotFoundError: It is not kept any more.
        """
        name, draft = await _in_thread(self._checked.find, guild, token)

        def use() -> DatasetVersion:
            chosen = draft.with_prefix() if is_prefixed else draft
            return self._datasets.store(guild, name, chosen.with_media(media, by=by))

        return await self._changed(guild, name, use)

    async def choose_media(
        self, guild: str, reference: str, media: Media, *, by: str
    ) -> StoredDataset:
        """Store a version that is trained on as repaired, or as uploaded."""

        def choose() -> DatasetVersion:
            return self._edits.choose_media(guild, reference, media, by=by)

        return await self._changed(guild, reference, choose)

    async def prefix(
        self, guild: str, reference: str, *, trigger: str | None, by: str
    ) -> StoredDataset:
        """Store a version with the trigger word in every caption."""

        def prefix() -> DatasetVersion:
            return self._edits.prefix(guild, reference, trigger=trigger, by=by)

        return await self._changed(guild, reference, prefix)

    async def recaption(
        self, guild: str, reference: str, table: bytes, *, trigger: str | None, by: str
    ) -> StoredDataset:
        """Store a version with the captions of an edited table."""

        def edit() -> DatasetVersion:
            return self._edits.recaption(guild, reference, table, trigger=trigger, by=by)

        return await self._changed(guild, reference, edit)

    async def captions(self, guild: str, reference: str) -> tuple[DatasetVersion, bytes]:
        """Return the captions of a version as a table."""

        def table() -> tuple[DatasetVersion, bytes]:
            version = self._datasets.find(guild, reference)
            return version, write_table(self._datasets.draft(guild, version).report)

        return await _in_thread(table)

    async def difference(
        self, guild: str, old: str, new: str
    ) -> tuple[DatasetVersion, DatasetVersion, Difference]:
        """Return what changed from one version to another."""

        def difference() -> tuple[DatasetVersion, DatasetVersion, Difference]:
            versions = self._datasets.find(guild, old), self._datasets.find(guild, new)
            reports = [self._datasets.report(guild, version) for version in versions]
            return (*versions, compare(*reports))

        return await _in_thread(difference)

    async def newest(self, guild: str) -> list[DatasetVersion]:
        """Return the newest version of every dataset."""
        return await _in_thread(self._datasets.newest, guild)

    async def show(self, guild: str, reference: str) -> StoredDataset:
        """Return one version with its report."""

        def show() -> StoredDataset:
            return self._described(guild, self._datasets.find(guild, reference), is_new=False)

        return await _in_thread(show)

    async def text_of(self, report: Report) -> str:
        """Return a whole report as plain text."""
        return await _in_thread(report_text, report)

    async def removal(self, guild: str, reference: str) -> Removal:
        """Return what removing one version or a whole dataset would delete."""
        return await _in_thread(self._removals.ask, guild, reference)

    async def remove(self, guild: str, reference: str) -> list[DatasetVersion]:
        """Remove one version, unless an open run reads it."""
        return await _in_thread(self._removals.remove, guild, reference)

    async def remove_all(self, guild: str, newest: str) -> list[DatasetVersion]:
        """Remove a whole dataset whose newest version is the one named, unless it is read."""
        return await _in_thread(self._removals.remove_all, guild, newest)

    async def _changed(
        self, guild: str, reference: str, change: Callable[[], DatasetVersion]
    ) -> StoredDataset:
        """Make a change in a thread and say whether it stored anything."""
        return await _in_thread(self._describe_change, guild, reference, change)

    def _describe_change(
        self, guild: str, reference: str, change: Callable[[], DatasetVersion]
    ) -> StoredDataset:
        name = parse_reference(reference)[0]
        before = {version.number for version in self._datasets.versions(guild, name)}
        version = change()
        return self._described(guild, version, is_new=version.number not in before)

    async def _look(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what decodes whole uploads, a few at a time; the others wait."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._looks, partial(function, *args, **kwargs))

    def _described(self, guild: str, version: DatasetVersion, *, is_new: bool) -> StoredDataset:
        datasets = self._datasets
        report = datasets.report(guild, version)
        others = [o for o in datasets.versions(guild, version.name) if o.number != version.number]
        same = [str(other.ref) for other in others if other.version == version.version]
        return StoredDataset(
            version=version,
            looked=look(report, datasets.thumbnails(guild, version), version.trigger),
            same_as=same[-1] if same else None,
            others=tuple(other.number for other in others),
            is_new=is_new,
        )


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.to_thread(function, *args, **kwargs)
