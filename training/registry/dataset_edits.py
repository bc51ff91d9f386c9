"""Makes new versions of stored datasets, for example with more files or edited captions."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from training.dataset.captions.caption import holds_controls, tidy
from training.dataset.captions.table import ReadTable, read_table
from training.dataset.inspect import inspect_zip
from training.dataset.recaption import check_trigger
from training.dataset.report import Media, OnProgress, Report, no_progress
from training.dataset.zip.combine import Combined, ZipPart, combine
from training.dataset.zip.member_names import printable
from training.errors import RequestError
from training.files.temporary import scratch_folder
from training.registry.dataset_draft import (
    DatasetDraft,
    TriggerChange,
    Upload,
    UploadMode,
    leave_out,
    left_out_of,
    read_layout,
    refuse_unusable,
    trigger_kept,
    with_trigger_only,
)
from training.registry.datasets import Datasets, DatasetVersion, NewerVersionError
from training.wording import listed


@dataclass(frozen=True, slots=True)
class CaptionChange:
    """A person's change to the caption of the sample `name`.

    Attributes:
        before: The caption that the person saw and replaced; "" if there was none.
        text: The new caption.
        is_accepted: Whether the new caption is a captioner's proposal, unchanged.
    """

    name: str
    before: str
    text: str
    is_accepted: bool = False


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
            return self._next(guild, version, kept)

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

    def change_captions(
        self, guild: str, name: str, changes: Sequence[CaptionChange], *, by: str
    ) -> tuple[DatasetVersion, tuple[CaptionChange, ...]]:
        """Store changed captions as the next version of the dataset `name`.

        Each change is made to the newest version, which other people may have changed since. A
        caption that somebody else changed is not overwritten.

        Returns:
            The newest version, which is a new one unless nothing was changed; and the changes that
            were not made, because the sample has another caption by now or was left out.

        Raises:
            RequestError: A new caption is empty or has control characters.
        """
        for change in changes:
            if not tidy(change.text) or holds_controls(change.text):
                raise RequestError(
                    f"The new caption of {change.name} is empty or has control characters.",
                    "Write a caption, or leave the sample out.",
                )
        while True:
            version = self._datasets.find(guild, name)
            draft = self._datasets.draft(guild, version)
            now = {sample.name: sample.caption for sample in draft.report.samples}
            made = [one for one in changes if now.get(one.name) == one.before != tidy(one.text)]
            done = [one for one in changes if now.get(one.name) == tidy(one.text)]
            refused = tuple(one for one in changes if one not in made and one not in done)
            if not made:
                return version, refused
            edited = draft.with_captions(
                {one.name: one.text for one in made},
                version.trigger,
                accepted={one.name for one in made if one.is_accepted},
            )
            change = _edited(version, len(made))
            with suppress(NewerVersionError):
                stored = self._next(
                    guild,
                    version,
                    replace(edited, by=by, change=change),
                    follows=version.number,
                )
                return stored, refused

    def leave_out(self, guild: str, reference: str, *, by: str) -> DatasetVersion:
        """Store a new version without the samples that lack a caption.

        Raises:
            RequestError: No sample has a caption.
        """
        version = self._datasets.find(guild, reference)
        draft = self._datasets.draft(guild, version)
        left = leave_out(draft, by=by, limits=self._datasets.limits)
        return self._next(guild, version, left)

    def use_trigger_only(self, guild: str, reference: str, *, by: str) -> DatasetVersion:
        """Store a new version with the trigger word as the caption of samples that lack one.

        Raises:
            RequestError: There is no trigger word.
        """
        version = self._datasets.find(guild, reference)
        draft = self._datasets.draft(guild, version)
        return self._next(guild, version, with_trigger_only(draft, by=by))

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
        return self._next(guild, version, replace(new, by=by, change=change))

    def choose_media(self, guild: str, reference: str, media: Media, *, by: str) -> DatasetVersion:
        """Store a new version that trains on the repaired files, or on the files as uploaded.

        Raises:
            DatasetError: The trainer cannot read the files as uploaded.
        """
        version = self._datasets.find(guild, reference)
        words = "as repaired" if media == "repaired" else "as uploaded"
        change = f"{version.ref} with its images and clips {words}"
        draft = self._datasets.draft(guild, version).with_media(media, by=by)
        return self._next(guild, version, replace(draft, change=change))

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
        return self._next(guild, version, replace(read, change=change))

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
        return version, found.with_edited(draft.captions, word).report

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
        return self._next(guild, version, edited.with_captions(captions, word))

    def _next(
        self, guild: str, version: DatasetVersion, draft: DatasetDraft, follows: int | None = None
    ) -> DatasetVersion:
        """Store a draft made from a version; it may lack captions if the version does."""
        return self._datasets.store(
            guild,
            version.name,
            draft,
            allows_missing_captions=version.without_caption > 0,
            follows=follows,
        )


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
