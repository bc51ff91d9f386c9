"""Drafts of dataset versions: a zip, its report and edited captions, before they are stored."""

import base64
import io
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from PIL import Image
from pydantic import Base64Bytes, BaseModel, ConfigDict, TypeAdapter, ValidationError

from training import store_keys
from training.dataset.captions.origin import EditedCaption, after_edit
from training.dataset.captions.table import read_table
from training.dataset.decoding.thumbnail import Thumbnail
from training.dataset.inspect import inspect_zip
from training.dataset.limits import Limits
from training.dataset.original import used_as
from training.dataset.recaption import check_trigger, prefixed, recaption, renamed
from training.dataset.report import Media, OnProgress, Report, causes_and_fixes, no_progress
from training.errors import DatasetError, RequestError
from training.files.atomic import link_or_copy
from training.ports import Store
from training.remedies import LeaveOutFiles, ReadLayout, Remedy, WriteCaptions
from training.wording import count, listed

UploadMode = Literal["new", "add", "replace"]
_JPEG_QUALITY = 90
_CAPTIONS = TypeAdapter(dict[str, EditedCaption])


class DatasetRefusedError(DatasetError):
    """The dataset cannot be used for training; `report` has all findings."""

    def __init__(self, cause: str, fix: str, report: Report) -> None:
        super().__init__(cause, fix, way_on(report))
        self.report = report
        self.args = (cause, fix, report)  # for pickling


class Thumbnails(BaseModel):
    """JPEG thumbnails, encoded by `inspect_upload`, keyed by the samples' paths in the zip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    jpegs: Mapping[str, Base64Bytes] = {}

    def images(self) -> dict[str, Image.Image]:
        return {path: Image.open(io.BytesIO(data)) for path, data in self.jpegs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An uploaded zip, with the uploader's choices.

    Attributes:
        by: The uploader.
        trigger: A word that every caption should contain; None if there is none.
        is_prefixed: Whether to put the trigger word before every caption that lacks it.
        left_out: The files to leave out, as paths in the zip.
        reads_layout: Whether to read the zip in another tool's layout, if one is recognized.
        table: The content of an edited caption table; None if there is none.
        uses_trigger_only: Whether samples that still have no caption get the trigger word alone.
        leaves_out: Whether to leave out bad files, and samples that still have no caption.
    """

    archive: Path
    by: str
    file_name: str
    trigger: str | None = None
    is_prefixed: bool = False
    left_out: frozenset[str] = frozenset()
    reads_layout: bool = False
    table: bytes | None = None
    uses_trigger_only: bool = False
    leaves_out: bool = False


@dataclass(frozen=True, slots=True)
class TriggerChange:
    """A new trigger word for a dataset, and how to edit the captions for it.

    Attributes:
        word: The new trigger word; None keeps the current one.
        replaces: A word in the captions to replace with the trigger word; None replaces nothing.
        is_prefixed: Whether to put the trigger word before every caption that lacks it.
    """

    word: str | None = None
    replaces: str | None = None
    is_prefixed: bool = False

    @property
    def edits_captions(self) -> bool:
        return self.is_prefixed or self.replaces is not None


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """A zip in the store. It is fetched only when it is read."""

    store: Store
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDraft:
    """A dataset version before it is stored and numbered.

    Attributes:
        archive: The zip that was inspected.
        report: The zip's report, with edited captions.
        captions: The edited captions, which differ from those in the zip, keyed by sample name.
        change: How the version was made, such as "uploaded" or "annika@1 with 2 captions edited".
        mode: "new" if it becomes a version on its own; "add" or "replace" if its files are added to
            those of the newest version.
    """

    archive: Path | StoredArchive
    report: Report
    by: str
    file_name: str
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    captions: Mapping[str, EditedCaption] = field(default_factory=dict[str, EditedCaption])
    trigger: str | None = None
    media: Media = "repaired"
    change: str = "uploaded"
    mode: UploadMode = "new"

    def zip_path(self) -> Path:
        """Return the path of the zip on this machine; the file must not be changed."""
        if isinstance(self.archive, StoredArchive):
            return self.archive.store.fetch(self.archive.key)
        return self.archive

    def with_captions(
        self,
        captions: Mapping[str, str],
        trigger: str | None,
        *,
        accepted: Collection[str] = frozenset(),
    ) -> "DatasetDraft":
        """Return the draft with these new captions, keyed by sample name, and this trigger word.

        `accepted` are the names of samples whose new caption is an unchanged proposal.
        """
        before = {sample.name: sample.caption for sample in self.report.samples}
        edited = {
            name: after_edit(before[name], text, is_accepted=name in accepted)
            for name, text in captions.items()
            if name in before
        }
        return self.with_edited(edited, trigger)

    def with_edited(
        self, captions: Mapping[str, EditedCaption], trigger: str | None
    ) -> "DatasetDraft":
        """Return the draft with captions whose origin is known."""
        texts = {name: caption.text for name, caption in captions.items()}
        return replace(
            self,
            report=recaption(self.report, texts, trigger),
            captions={**self.captions, **captions},
            trigger=trigger,
        )

    def with_media(self, media: Media, *, by: str) -> "DatasetDraft":
        """Return a draft that trains on the repaired files, or on the files as uploaded.

        Raises:
            DatasetError: The trainer cannot read the files as uploaded.
        """
        used_as(self.report, media)
        return replace(self, media=media, by=by)

    def with_prefix(self) -> "DatasetDraft":
        if self.trigger is None:
            return self
        return self.with_captions(prefixed(self.report, self.trigger), self.trigger)

    def with_trigger(self, change: TriggerChange) -> "DatasetDraft":
        """Return the draft with its trigger word and captions changed as `change` says.

        Raises:
            RequestError: The trigger word is missing or invalid, or no caption contains the word
                to replace.
        """
        word = check_trigger(change.word) if change.word is not None else self.trigger
        if word is None:
            raise no_trigger()
        captions: Mapping[str, str] = {}
        if change.replaces is not None:
            captions = renamed(self.report, check_trigger(change.replaces), word)
        changed = self.with_captions(captions, word)
        return changed.with_prefix() if change.is_prefixed else changed


def inspect_upload(
    upload: Upload, on_progress: OnProgress = no_progress, limits: Limits | None = None
) -> DatasetDraft:
    """Inspect an upload and return a draft, whose report says whether the upload can be used.

    Raises:
        RequestError: The trigger word is invalid or missing, or no sample remains after files
            were left out.
        DatasetError: The zip cannot be read, or the table does not match it.
    """
    trigger = check_trigger(upload.trigger) if upload.trigger is not None else None
    jpegs: dict[str, bytes] = {}

    def keep(path: str, thumbnail: Thumbnail) -> None:
        buffer = io.BytesIO()
        thumbnail.image().save(buffer, "JPEG", quality=_JPEG_QUALITY)
        jpegs[path] = base64.b64encode(buffer.getvalue())

    report = inspect_zip(
        upload.archive,
        trigger=trigger,
        left_out=upload.left_out,
        reads_layout=upload.reads_layout,
        limits=limits,
        on_progress=on_progress,
        on_thumbnail=keep,
    )
    draft = DatasetDraft(
        archive=upload.archive,
        report=report,
        by=upload.by,
        file_name=upload.file_name,
        thumbnails=Thumbnails(jpegs=jpegs),
        trigger=trigger,
    )
    return _settled(draft.with_prefix() if upload.is_prefixed else draft, upload, limits)


def leave_out_bad_files(
    draft: DatasetDraft, *, by: str, limits: Limits | None = None
) -> DatasetDraft:
    """Return the draft without the files that cannot be used; edited captions are kept.

    Raises:
        RequestError: No sample would be left.
    """
    gone = frozenset(draft.report.bad_files)
    if all(sample.source in gone for sample in draft.report.samples):
        raise RequestError("None of the files can be used.", "Export them again.")
    return _leave_out(draft, gone, "file", by=by, limits=limits)


def leave_out(draft: DatasetDraft, *, by: str, limits: Limits | None = None) -> DatasetDraft:
    """Return the draft without the samples that lack a caption; edited captions are kept.

    Raises:
        RequestError: No sample has a caption.
    """
    gone = frozenset(sample.source for sample in draft.report.without_caption)
    if len(gone) == len(draft.report.samples):
        raise RequestError("No sample has a caption.", "Write some captions first.")
    return _leave_out(draft, gone, "sample", by=by, limits=limits)


def _leave_out(
    draft: DatasetDraft, gone: frozenset[str], noun: str, *, by: str, limits: Limits | None
) -> DatasetDraft:
    is_read = draft.report.layout is not None and draft.report.layout.is_read
    left_out = left_out_of(draft.report) | gone
    rest = _again(draft, by=by, left_out=left_out, reads_layout=is_read, limits=limits)
    return replace(rest, change=f"{draft.change}, {count(len(gone), noun)} left out")


def no_trigger() -> RequestError:
    """Return the error for a request that needs a trigger word although there is none."""
    return RequestError("There is no trigger word.", "Give a trigger word, such as ann1ka.")


def trigger_kept(word: str | None, before: str | None) -> str:
    """Return a phrase to add to `change` if the dataset's trigger word is kept, else ""."""
    return f", trigger word {word} kept" if word is not None and word == before else ""


def left_out_of(report: Report) -> frozenset[str]:
    """Return the zip paths of the files that the user chose to leave out."""
    return frozenset(
        f for found in report.findings if found.code == "left-out" for f in found.files
    )


def with_trigger_only(draft: DatasetDraft, *, by: str) -> DatasetDraft:
    """Return the draft with the trigger word as the caption of each sample that lacks one.

    Raises:
        RequestError: There is no trigger word.
    """
    if draft.trigger is None:
        raise no_trigger()
    captions = {sample.name: draft.trigger for sample in draft.report.without_caption}
    change = f"{draft.change}, {count(len(captions), 'sample')} captioned with the trigger word"
    return replace(draft.with_captions(captions, draft.trigger), by=by, change=change)


def _settled(draft: DatasetDraft, upload: Upload, limits: Limits | None) -> DatasetDraft:
    """Return the draft after applying the uploader's caption table and other choices.

    The other choices concern bad files and samples without a caption.
    """
    by = upload.by
    if upload.table is not None:
        captions = read_table(upload.table, draft.report).captions
        draft = draft.with_captions(captions, draft.trigger)
    if upload.uses_trigger_only and draft.report.without_caption:
        draft = with_trigger_only(draft, by=by)
    if upload.leaves_out and draft.report.bad_files:
        draft = leave_out_bad_files(draft, by=by, limits=limits)
    if upload.leaves_out and draft.report.without_caption:
        draft = leave_out(draft, by=by, limits=limits)
    return draft


def read_layout(draft: DatasetDraft, *, by: str, limits: Limits | None = None) -> DatasetDraft:
    """Return the draft with its zip read in the recognized layout of another tool.

    Edited captions are kept.

    Raises:
        RequestError: No layout was recognized, or the zip is already read in it.
    """
    refusal = RequestError(
        "There is no other layout in which this dataset can be read.", "Use the dataset as it is."
    )
    if draft.report.layout is not None and draft.report.layout.is_read:
        raise refusal
    left_out = left_out_of(draft.report)
    read = _again(draft, by=by, left_out=left_out, reads_layout=True, limits=limits)
    # Check the new report: the stored one may be older than the code that recognizes layouts.
    if read.report.layout is None:
        raise refusal
    return read


def _again(
    draft: DatasetDraft,
    *,
    by: str,
    left_out: frozenset[str],
    reads_layout: bool,
    limits: Limits | None,
) -> DatasetDraft:
    """Return the draft with its zip inspected again; edited captions are kept."""
    upload = Upload(
        archive=draft.zip_path(),
        by=by,
        file_name=draft.file_name,
        trigger=draft.trigger,
        left_out=left_out,
        reads_layout=reads_layout,
    )
    read = inspect_upload(upload, limits=limits)
    names = {sample.source: sample.name for sample in read.report.samples}
    edited = {
        names[sample.source]: draft.captions[sample.name]
        for sample in draft.report.samples
        if sample.name in draft.captions and sample.source in names
    }
    changed = read.with_edited(edited, draft.trigger) if edited else read
    again = replace(changed, archive=draft.archive, mode=draft.mode, change=draft.change)
    return again.with_media(draft.media, by=by)


def refuse_unusable(report: Report) -> None:
    """Refuse a dataset with errors.

    Raises:
        DatasetRefusedError: A finding of the report is an error.
    """
    if report.errors:
        causes, fixes = causes_and_fixes(report.errors)
        raise DatasetRefusedError(causes, f"{fixes} Nothing was stored.{other_way(report)}", report)


def other_way(report: Report) -> str:
    """Return a sentence on how to use the files without changing them; "" if there is no way."""
    if report.layout is not None and report.has_unread_layout:
        return f" Or read the zip as {listed(report.layout.names)}."
    if not report.bad_files or not report.can_be_settled:
        return ""
    others = ", with the samples that lack a caption" if report.without_caption else ""
    return f" Or leave these files out{others}."


def way_on(report: Report) -> Remedy | None:
    """Return a remedy that makes a refused dataset usable without new files; else None."""
    if report.has_unread_layout:
        return ReadLayout()
    if not report.can_be_settled:
        return None
    return LeaveOutFiles() if report.bad_files else WriteCaptions()


def read_draft(store: Store, folder: str, *, by: str, file_name: str) -> DatasetDraft:
    """Return a draft that `write_draft` wrote; the caller sets trigger, media, change and mode."""
    return DatasetDraft(
        archive=StoredArchive(store, f"{folder}/{store_keys.ORIGINAL}"),
        report=Report.model_validate_json(store.read(f"{folder}/{store_keys.REPORT}")),
        thumbnails=Thumbnails.model_validate_json(store.read(f"{folder}/{store_keys.THUMBNAILS}")),
        captions=read_captions(store, folder),
        by=by,
        file_name=file_name,
    )


def read_captions(store: Store, folder: str) -> dict[str, EditedCaption]:
    """Return the edited captions of a stored draft.

    Raises:
        DatasetError: They are missing or damaged.
    """
    try:
        return _CAPTIONS.validate_json(store.read(f"{folder}/{store_keys.CAPTIONS}"))
    except (FileNotFoundError, ValidationError) as error:
        raise DatasetError(
            f"{folder}/{store_keys.CAPTIONS}, the edited captions of a dataset, is missing or "
            "damaged.",
            "Add the zip again as a new version, together with its edited captions.",
        ) from error


def write_draft(folder: Path, draft: DatasetDraft) -> None:
    """Write a draft's zip, captions, report and thumbnails to `folder`."""
    source, target = draft.zip_path(), folder / store_keys.ORIGINAL
    if isinstance(draft.archive, StoredArchive):
        link_or_copy(source, target)
    else:
        shutil.copyfile(source, target)
    captions = _CAPTIONS.dump_json(dict(sorted(draft.captions.items())), indent=2)
    (folder / store_keys.CAPTIONS).write_bytes(captions)
    for name, data in inspection_files(draft).items():
        (folder / name).write_bytes(data)


def inspection_files(draft: DatasetDraft) -> dict[str, bytes]:
    """Return the content of the files that a new inspection would rebuild, keyed by file name."""
    return {
        store_keys.REPORT: draft.report.model_dump_json(indent=2).encode(),
        store_keys.THUMBNAILS: draft.thumbnails.model_dump_json().encode(),
    }
