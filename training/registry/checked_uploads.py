"""Keeps uploads that were checked but not stored as a dataset; they expire after a day."""

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from training import store_keys
from training.errors import NotFoundError
from training.ports import Store
from training.registry.dataset_draft import DatasetDraft, UploadMode, read_draft, write_draft
from training.registry.staged import staging_folder
from training.remedies import AddDataset

KEPT_HOURS = 24


class CheckedUpload(BaseModel):
    """The record of a checked upload, stored beside its files.

    Attributes:
        is_waiting: Whether captions are missing. The user can write them, or leave out the samples
            without a caption.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    checked_at: datetime
    by: str
    file_name: str
    trigger: str | None
    mode: UploadMode = "new"
    change: str = "uploaded"
    is_waiting: bool = False


class CheckedUploads:
    """The checked uploads of all guilds; each has a token short enough for a button's id."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, guild: str, name: str, draft: DatasetDraft) -> str:
        """Store an upload for a day and return its token; `name` is the future dataset's name."""
        self._sweep(guild)
        upload = CheckedUpload(
            name=name,
            checked_at=datetime.now(UTC),
            by=draft.by,
            file_name=draft.file_name,
            trigger=draft.trigger,
            mode=draft.mode,
            change=draft.change,
            is_waiting=bool(draft.report.without_caption),
        )
        with staging_folder(self._store, guild) as folder:
            write_draft(folder, draft)
            (folder / store_keys.MANIFEST).write_text(upload.model_dump_json(), "utf-8")
            token = secrets.token_hex(8)
            self._store.put_tree(f"{store_keys.checked(guild)}/{token}", folder)
            return token

    def find(self, guild: str, token: str) -> tuple[str, DatasetDraft]:
        """Return the future dataset's name and the draft of a checked upload.

        Raises:
            NotFoundError: The upload has expired or belongs to another guild.
        """
        folder = f"{store_keys.checked(guild)}/{token}"
        upload = self._read(guild, token)
        if upload is None or _is_old(upload):
            raise NotFoundError(
                f"This upload has expired: a checked upload is kept for {KEPT_HOURS} hours.",
                "Upload the zip again.",
                AddDataset(),
            )
        draft = read_draft(self._store, folder, by=upload.by, file_name=upload.file_name)
        kept = replace(draft, trigger=upload.trigger, mode=upload.mode, change=upload.change)
        return upload.name, kept

    def waiting(self, guild: str, name: str) -> tuple[str, datetime] | None:
        """Find the newest upload called `name` that waits for captions.

        Return its token and the time at which it was checked; None if there is no such upload.
        """
        tokens = self._store.names(store_keys.checked(guild))
        found = [
            (upload.checked_at, token)
            for token in tokens
            if (upload := self._read(guild, token)) is not None
            and upload.is_waiting
            and upload.name == name
            and not _is_old(upload)
        ]
        if not found:
            return None
        checked_at, token = max(found)
        return token, checked_at

    def _sweep(self, guild: str) -> None:
        """Delete uploads that have expired or whose record is damaged."""
        for token in self._store.names(store_keys.checked(guild)):
            upload = self._read(guild, token)
            if upload is None or _is_old(upload):
                self._store.delete(f"{store_keys.checked(guild)}/{token}")

    def _read(self, guild: str, token: str) -> CheckedUpload | None:
        key = f"{store_keys.checked(guild)}/{token}/{store_keys.MANIFEST}"
        try:
            return CheckedUpload.model_validate_json(self._store.read(key))
        except (FileNotFoundError, ValidationError):  # damaged records count as expired
            return None


def _is_old(upload: CheckedUpload) -> bool:
    return datetime.now(UTC) - upload.checked_at > timedelta(hours=KEPT_HOURS)
