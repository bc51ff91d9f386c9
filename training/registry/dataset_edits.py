"""New versions made of stored ones: more files, other captions, the media as uploaded."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from training.dataset.captions.table import ReadTable, read_table
from training.dataset.inspect import inspect_zip
from training.dataset.recaption import check_trigger, prefixed
from training.dataset.report import Media, Report
from training.dataset.zip.combine import Combined, ZipPart, combine
from training.dataset.zip.member_names import printable
from training.errors import RequestError
from training.registry.dataset_draft import OnProgress, Upload, no_progress, refuse_unusable
from training.registry.datasets import Datasets, DatasetVersion

_SHOWN_TITLES = 3


class DatasetEdits:
    """Makes further versions of a guild's datasets; the old ones stay as they are."""

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
        """Store the files of a version and of an upload as the next version.

        Raises:
            NotFoundError: There is no such dataset.
            DatasetError: The upload cannot be used, or holds other files of the same names.
        """
        version = self._datasets.find(guild, reference)
        old = self._datasets.draft(guild, version)
        new = self._datasets.inspect(upload, on_progress)
        refuse_unusable(new.report)
        with tempfile.TemporaryDirectory(prefix="lorabot-combined-") as folder:
            archive = Path(folder) / "combined.zip"
            parts = ZipPart(old.zip_path(), old.report), ZipPart(new.zip_path(), new.report)
            limits = self._datasets.limits
            combined = combine(*parts, archive, is_replacing=is_replacing, limits=limits)
            trigger = new.trigger or old.trigger
            whole = replace(upload, archive=archive, file_name=old.file_name, trigger=trigger)
            draft = replace(
                self._datasets.inspect(whole, on_progress),
                file_name=f"{old.file_name} + {upload.file_name}",
                change=_added(combined, version),
            )
            kept = draft.with_media(old.media, by=upload.by)
            return self._datasets.store(guild, version.name, kept)

    def recaption(
        self, guild: str, reference: str, table: bytes, *, trigger: str | None, by: str
    ) -> DatasetVersion:
        """Store a version with the captions of an edited table.

        Raises:
            NotFoundError: There is no such dataset.
            TableRefusedError: A row of the table does not fit; nothing is stored.
        """
        version = self._datasets.find(guild, reference)
        read = read_table(table, self._datasets.draft(guild, version).report)
        return self._with_captions(
            guild, version, read.captions, trigger=trigger, by=by, remark=_unread(read)
        )

    def prefix(self, guild: str, reference: str, *, trigger: str | None, by: str) -> DatasetVersion:
        """Store a version whose captions all hold the trigger word, put first where it lacked.

        Raises:
            NotFoundError: There is no such dataset.
            RequestError: Neither the request nor the dataset names a trigger word.
        """
        version = self._datasets.find(guild, reference)
        word = check_trigger(trigger) if trigger is not None else version.trigger
        if word is None:
            raise RequestError(
                f"{version.ref} has no trigger word.", "Name it with trigger, such as ann1ka."
            )
        captions = prefixed(self._datasets.draft(guild, version).report, word)
        return self._with_captions(guild, version, captions, trigger=word, by=by)

    def choose_media(self, guild: str, reference: str, media: Media, *, by: str) -> DatasetVersion:
        """Store a version that is trained on as repaired, or as uploaded.

        Raises:
            NotFoundError: There is no such dataset.
            RequestError: The media cannot be trained on as they were uploaded.
        """
        version = self._datasets.find(guild, reference)
        words = "as repaired" if media == "repaired" else "as uploaded"
        change = f"{version.ref} with its media {words}"
        draft = self._datasets.draft(guild, version).with_media(media, by=by)
        return self._datasets.store(guild, version.name, replace(draft, change=change))

    def check_again(
        self, guild: str, reference: str, trigger: str | None, on_progress: OnProgress
    ) -> tuple[DatasetVersion, Report]:
        """Inspect a stored version by today's rules and return what is found; store nothing.

        Raises:
            NotFoundError: There is no such dataset.
        """
        version = self._datasets.find(guild, reference)
        draft = self._datasets.draft(guild, version)
        word = check_trigger(trigger) if trigger is not None else version.trigger
        found = replace(
            draft,
            report=inspect_zip(
                draft.zip_path(), limits=self._datasets.limits, on_progress=on_progress
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
        count = "1 caption" if len(captions) == 1 else f"{len(captions)} captions"
        change = f"{version.ref} with {count} edited{remark}"
        edited = replace(self._datasets.draft(guild, version), by=by, change=change)
        draft = edited.with_captions(captions, word)
        return self._datasets.store(guild, version.name, draft)


def _unread(table: ReadTable) -> str:
    """Return what is said about columns that somebody added to a table; they may be many."""
    if not table.unread:
        return ""
    titles = [printable(title.strip()) or "one without a title" for title in table.unread]
    more = [f"{len(titles) - _SHOWN_TITLES} more"] if len(titles) > _SHOWN_TITLES else []
    unread = ", ".join([*titles[:_SHOWN_TITLES], *more])
    return f"; of the table only file and caption were read, not {unread}"


def _added(combined: Combined, version: DatasetVersion) -> str:
    added = "1 sample" if combined.added == 1 else f"{combined.added} samples"
    replaced = f" and {combined.replaced} replaced" if combined.replaced else ""
    return f"{version.ref} with {added} added{replaced}"
