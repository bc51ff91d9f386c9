"""Rebuilds a stored dataset's report and thumbnails from its zip if they are damaged."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from training.dataset.captions.origin import EditedCaption
from training.dataset.limits import Limits
from training.errors import DatasetError
from training.ports import Store
from training.registry.dataset_draft import (
    DatasetDraft,
    Upload,
    inspect_upload,
    inspection_files,
)

logger = logging.getLogger(__name__)


def remake(
    store: Store,
    folder: str,
    upload: Upload,
    captions: Mapping[str, EditedCaption],
    *,
    limits: Limits,
    is_right: Callable[[DatasetDraft], bool],
) -> DatasetDraft:
    """Return a draft from a new inspection of a stored zip; store its report and thumbnails.

    The draft is returned even if they cannot be stored.

    Args:
        store: The store.
        folder: The key of the dataset's folder.
        upload: The zip, and the facts about it from the dataset's manifest.
        captions: The edited captions.
        limits: Limits of the inspection.
        is_right: Returns whether a draft's content matches the manifest.

    Raises:
        DatasetError: The zip is damaged, or its content does not match the manifest.
    """
    for draft in _drafts(upload, captions, limits):
        if is_right(draft):
            logger.warning("%s: its report was damaged and has been rebuilt", folder)
            with suppress(OSError):
                for name, data in inspection_files(draft).items():
                    store.write(f"{folder}/{name}", data)
            return draft
    raise DatasetError(
        f"The report on {upload.file_name} is damaged, and checking the zip again gives a "
        "different report.",
        "Add the zip again as a new version.",
    )


def _drafts(
    upload: Upload, captions: Mapping[str, EditedCaption], limits: Limits
) -> Iterator[DatasetDraft]:
    """Yield a draft for each way in which the zip may have been inspected originally.

    The ways differ in whether another tool's layout was read, and in which files were left out.
    """
    for reads_layout in (False, True):
        read = replace(upload, reads_layout=reads_layout)
        draft = inspect_upload(read, limits=limits)
        if reads_layout and (draft.report.layout is None or not draft.report.layout.is_read):
            return
        yield _edited(draft, captions)
        bad = frozenset(draft.report.bad_files)
        bare = frozenset(sample.source for sample in draft.report.without_caption)
        for gone in filter(None, dict.fromkeys((bad, bad | bare))):
            yield _edited(inspect_upload(replace(read, left_out=gone), limits=limits), captions)


def _edited(draft: DatasetDraft, captions: Mapping[str, EditedCaption]) -> DatasetDraft:
    known = {sample.name for sample in draft.report.samples}
    edited = {name: caption for name, caption in captions.items() if name in known}
    return draft.with_edited(edited, draft.trigger) if edited else draft
