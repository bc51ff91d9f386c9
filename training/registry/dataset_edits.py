"""Makes new versions of stored datasets, for example with more files or edited captions."""

from collections.abc import Mapping
from dataclasses import replace

from training.dataset.captions.table import ReadTable, read_table
from training.dataset.inspect import inspect_zip
from training.dataset.recaption import check_trigger
from training.dataset.report import Media, OnProgress, Report, no_progress
from training.dataset.zip.combine import Combined, ZipPart, combine
from training.dataset.zip.member_names import printable
from training.files.temporary import scratch_folder
from training.registry.dataset_draft import (
    DatasetDraft,
    TriggerChange,
    Upload,
    UploadMode,
    left_out_of,
    read_layout,
    refuse_unusable,
    trigger_kept,
)
from training.registry.datasets import Datasets, DatasetVersion
from training.wording import listed


class DatasetEdits:
    """Makes new versions of stored datasets; existing versions never change.

    Every edit raises `NotFoundError` if the guild has no such dataset or version.
    """

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets

    def extend(
        self,
        guild: str,
        reference: str,
        upload: Upload,
        *,
        is_replacing: bool,
        on_progress: OnProgress = no_progress,
    ) -> DatasetVersion:
        """Add the files of an upload to a version, and store the result as the next version.

        Raises:
            DatasetError: The upload cannot be used, or the version has a file of the same name and
                `is_replacing` is False.
        """
        self._datasets.find(guild, reference)
        new = self._datasets.inspect(upload, on_progress)
        mode: UploadMode = "replace" if is_replacing else "add"
        return self.join(
            guild,
            reference,
            replace(new, mode=mode),
            is_prefixed=upload.is_prefixed,
            on_progress=on_progress,
        )

    def join(
        self,
        guild: str,
        reference: str,
        new: DatasetDraft,
        *,
        is_prefixed: bool = False,
        on_progress: OnProgress = no_progress,
    ) -> DatasetVersion:
        """Add the files of a draft to a version, and store the result as the next version.

        If the draft's mode is "replace", its files replace files of the same name.

        Raises:
            DatasetError: The draft cannot be used or, in mode "add", the version has a file of the
                same name.
        """
        refuse_unusable(new.report)
        version = self._datasets.find(guild, reference)
        old = self._datasets.draft(guild, version)
        is_replacing = new.mode == "replace"
        with scratch_folder("combined") as folder:
            archive = folder / "combined.zip"
            parts = ZipPart(old.zip_path(), old.report), ZipPart(new.zip_path(), new.report)
            limits = self._datasets.limits
            combined = combine(*parts, archive, is_replacing=is_replacing, limits=limits)
            trigger = new.trigger or old.trigger
            whole = Upload(
                archive=archive,
                by=new.by,
                file_name=old.file_name,
                trigger=trigger,
                is_prefixed=is_prefixed,
            )
            draft = replace(
                self._datasets.inspect(whole, on_progress),
                file_name=f"{old.file_name} + {new.file_name}",
                change=_added(combined, version) + trigger_kept(trigger, old.trigger),
            )
            kept = draft.with_media(old.media, by=new.by)
            return self._datasets.store(guild, version.name, kept)

    def recaption(
        self, guild: str, reference: str, table: bytes, *, trigger: str | None, by: str
    ) -> DatasetVersion:
        """Store a new version with the captions of an edited CSV table.

        Raises:
            TableRefusedError: The table does not match the dataset; nothing is stored.
        """
        version = self._datasets.find(guild, reference)
        read = read_table(table, self._datasets.draft(guild, version).report)
        return self._with_captions(
            guild, version, read.captions, trigger=trigger, by=by, remark=_unread(read)
        )

    def set_trigger(
        self, guild: str, reference: str, trigger: TriggerChange, *, by: str
    ) -> DatasetVersion:
        """Store a new version with its trigger word and captions changed as `trigger` says.

        Raises:
            RequestError: The trigger word is missing or invalid, or no caption contains the word
                to replace.
        """
        version = self._datasets.find(guild, reference)
        old = self._datasets.draft(guild, version)
        new = old.with_trigger(trigger)
        pairs = zip(old.report.samples, new.report.samples, strict=True)
        edited = sum(before.caption != after.caption for before, after in pairs)
        change = _edited(version, edited)
        return self._datasets.store(guild, version.name, replace(new, by=by, change=change))

    def choose_media(self, guild: str, reference: str, media: Media, *, by: str) -> DatasetVersion:
        """Store a new version that trains on the repaired files, or on the files as uploaded.

        Raises:
            DatasetError: The trainer cannot read the files as uploaded.
        """
        version = self._datasets.find(guild, reference)
        words = "as repaired" if media == "repaired" else "as uploaded"
        change = f"{version.ref} with its images and clips {words}"
        draft = self._datasets.draft(guild, version).with_media(media, by=by)
        return self._datasets.store(guild, version.name, replace(draft, change=change))

    def read_layout(self, guild: str, reference: str, *, by: str) -> DatasetVersion:
        """Store a new version in which the zip is read in another tool's layout.

        Raises:
            RequestError: No such layout was recognized, or the version already uses it.
            DatasetRefusedError: The dataset cannot be used in that layout.
        """
        version = self._datasets.find(guild, reference)
        draft = self._datasets.draft(guild, version)
        read = read_layout(draft, by=by, limits=self._datasets.limits)
        names = listed(read.report.layout.names if read.report.layout else ())
        change = f"{version.ref} read as {names}"
        return self._datasets.store(guild, version.name, replace(read, change=change))

    def check_again(
        self, guild: str, reference: str, trigger: str | None, on_progress: OnProgress
    ) -> tuple[DatasetVersion, Report]:
        """Inspect a stored version again with the current rules; return it and the new report.

        Nothing is stored.
        """
        version = self._datasets.find(guild, reference)
        draft = self._datasets.draft(guild, version)
        word = check_trigger(trigger) if trigger is not None else version.trigger
        found = replace(
            draft,
            report=inspect_zip(
                draft.zip_path(),
                left_out=left_out_of(draft.report),
                reads_layout=draft.report.layout is not None and draft.report.layout.is_read,
                limits=self._datasets.limits,
                on_progress=on_progress,
            ),
        )
        return version, found.with_captions(draft.captions, word).report

    def _with_captions(
        self,
        guild: str,
        version: DatasetVersion,
        captions: Mapping[str, str],
        *,
        trigger: str | None,
        by: str,
        remark: str = "",
    ) -> DatasetVersion:
        word = check_trigger(trigger) if trigger is not None else version.trigger
        change = _edited(version, len(captions)) + remark
        edited = replace(self._datasets.draft(guild, version), by=by, change=change)
        draft = edited.with_captions(captions, word)
        return self._datasets.store(guild, version.name, draft)


def _edited(version: DatasetVersion, count: int) -> str:
    return f"{version.ref} with {'1 caption' if count == 1 else f'{count} captions'} edited"


def _unread(table: ReadTable) -> str:
    if not table.unread:
        return ""
    titles = [printable(title.strip()) or "one without a title" for title in table.unread]
    return f"; other columns of the table were ignored: {listed(titles, most=3)}"


def _added(combined: Combined, version: DatasetVersion) -> str:
    added = "1 sample" if combined.added == 1 else f"{combined.added} samples"
    replaced = f" and {combined.replaced} replaced" if combined.replaced else ""
    return f"{version.ref} with {added} added{replaced}"
