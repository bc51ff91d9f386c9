"""A version of a dataset before it has a number: what was uploaded and what was found in it."""

import base64
import io
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image
from pydantic import Base64Bytes, BaseModel, ConfigDict

from training import store_keys
from training.dataset.decoding.thumbnail import Thumbnail
from training.dataset.inspect import inspect_zip
from training.dataset.limits import Limits
from training.dataset.original import used_as
from training.dataset.recaption import check_trigger, prefixed, recaption
from training.dataset.report import Media, Report
from training.errors import DatasetError
from training.files.atomic import link_or_copy
from training.ports import Store

OnProgress = Callable[[int, int], None]
_SHOWN_FINDINGS = 5
_JPEG_QUALITY = 90


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


class DatasetRefusedError(DatasetError):
    """An upload that cannot be used; `report` says everything that was found."""

    def __init__(self, cause: str, fix: str, report: Report) -> None:
        super().__init__(cause, fix)
        self.report = report


class Thumbnails(BaseModel):
    """Small JPEGs by the samples' paths in the zip, encoded here from plain pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    jpegs: Mapping[str, Base64Bytes] = {}

    def images(self) -> dict[str, Image.Image]:
        """Return the pictures."""
        return {path: Image.open(io.BytesIO(data)) for path, data in self.jpegs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A zip that somebody sends, and what is wished for its captions.

    Attributes:
        trigger: A word that every caption should hold.
        is_prefixed: Put the trigger first in every caption that lacks it.
    """

    archive: Path
    by: str
    file_name: str
    trigger: str | None = None
    is_prefixed: bool = False


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """The zip of what is stored already; it is fetched only when it is to be read."""

    store: Store
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDraft:
    """Everything about a version but its number.

    Attributes:
        archive: The zip whose files the report is about.
        report: With the captions that are trained on, which may not be the zip's.
        captions: Those that differ from the zip's, by sample name.
        change: What made it, in words: "uploaded", "2 captions edited".
    """

    archive: Path | StoredArchive
    report: Report
    by: str
    file_name: str
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    captions: Mapping[str, str] = field(default_factory=dict[str, str])
    trigger: str | None = None
    media: Media = "repaired"
    change: str = "uploaded"

    def zip_path(self) -> Path:
        """Return the zip as a file of this machine, to be read only."""
        if isinstance(self.archive, StoredArchive):
            return self.archive.store.fetch(self.archive.key)
        return self.archive

    def with_captions(self, captions: Mapping[str, str], trigger: str | None) -> "DatasetDraft":
        """Return the draft with other captions for the samples that are named."""
        return replace(
            self,
            report=recaption(self.report, captions, trigger),
            captions={**self.captions, **captions},
            trigger=trigger,
        )

    def with_media(self, media: Media, *, by: str) -> "DatasetDraft":
        """Return the draft with its media as repaired or as uploaded, whichever somebody chose.

        Raises:
            DatasetError: The media cannot be trained on as they were uploaded.
        """
        used_as(self.report, media)
        return replace(self, media=media, by=by)

    def with_prefix(self) -> "DatasetDraft":
        """Return the draft with its trigger word in every caption."""
        if self.trigger is None:
            return self
        return self.with_captions(prefixed(self.report, self.trigger), self.trigger)


def inspect_upload(
    upload: Upload, on_progress: OnProgress = no_progress, limits: Limits | None = None
) -> DatasetDraft:
    """Look at an upload; whether it can be used, the draft's report says.

    Raises:
        RequestError: The trigger word cannot be one.
        DatasetError: No look into the zip is possible.
    """
    trigger = check_trigger(upload.trigger) if upload.trigger is not None else None
    pictures: dict[str, bytes] = {}

    def keep(path: str, thumbnail: Thumbnail) -> None:
        pictures[path] = _jpeg(thumbnail)

    report = inspect_zip(
        upload.archive,
        trigger=trigger,
        limits=limits,
        on_progress=on_progress,
        on_thumbnail=keep,
    )
    encoded = {path: base64.b64encode(data) for path, data in pictures.items()}
    draft = DatasetDraft(
        archive=upload.archive,
        report=report,
        by=upload.by,
        file_name=upload.file_name,
        thumbnails=Thumbnails(jpegs=encoded),
        trigger=trigger,
    )
    return draft.with_prefix() if upload.is_prefixed else draft


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


def read_draft(store: Store, folder: str, *, by: str, file_name: str) -> DatasetDraft:
    """Return a draft as `write_draft` left it, with what else is known about it left out."""
    captions: dict[str, str] = json.loads(store.read(f"{folder}/{store_keys.CAPTIONS}"))
    return DatasetDraft(
        archive=StoredArchive(store, f"{folder}/{store_keys.ORIGINAL}"),
        report=Report.model_validate_json(store.read(f"{folder}/{store_keys.REPORT}")),
        thumbnails=Thumbnails.model_validate_json(store.read(f"{folder}/{store_keys.THUMBNAILS}")),
        captions=captions,
        by=by,
        file_name=file_name,
    )


def write_draft(folder: Path, draft: DatasetDraft) -> None:
    """Write what a draft consists of into a folder of the store."""
    source, target = draft.zip_path(), folder / store_keys.ORIGINAL
    if isinstance(draft.archive, StoredArchive):
        link_or_copy(source, target)
    else:
        shutil.copyfile(source, target)
    captions = json.dumps(dict(draft.captions), indent=2, ensure_ascii=False, sort_keys=True)
    (folder / store_keys.CAPTIONS).write_text(captions, "utf-8")
    (folder / store_keys.REPORT).write_text(draft.report.model_dump_json(indent=2), "utf-8")
    (folder / store_keys.THUMBNAILS).write_text(draft.thumbnails.model_dump_json(), "utf-8")


def _jpeg(thumbnail: Thumbnail) -> bytes:
    buffer = io.BytesIO()
    thumbnail.image().save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
