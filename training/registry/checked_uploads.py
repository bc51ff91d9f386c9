"""Uploads that were only checked: no dataset yet, kept for a day in case they are to be used."""

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict

from training import store_keys
from training.errors import NotFoundError
from training.ports import Store
from training.registry.dataset_draft import DatasetDraft, read_draft, write_draft
from training.registry.staged import staging_folder
from training.remedies import AddDataset

KEPT_HOURS = 24
MOST_KEPT = 10  # of a guild; a further one replaces the oldest


class CheckedUpload(BaseModel):
    """What is known about an upload besides its files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    checked_at: datetime
    by: str
    file_name: str
    trigger: str | None


class CheckedUploads:
    """Keeps and finds checked uploads by a token that a button can carry."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, guild: str, name: str, draft: DatasetDraft) -> str:
        """Keep an upload for a day under the name it would get, and return its token."""
        self._sweep(guild)
        upload = CheckedUpload(
            name=name,
            checked_at=datetime.now(UTC),
            by=draft.by,
            file_name=draft.file_name,
            trigger=draft.trigger,
        )
        with staging_folder(self._store, guild) as folder:
            write_draft(folder, draft)
            (folder / store_keys.MANIFEST).write_text(upload.model_dump_json(), "utf-8")
            token = secrets.token_hex(8)
            self._store.put_tree(f"{store_keys.checked(guild)}/{token}", folder)
            return token

    def find(self, guild: str, token: str) -> tuple[str, DatasetDraft]:
        """Return the name and the draft of a checked upload.

        Raises:
            NotFoundError: It is not kept any more, or was never this guild's.
        """
        folder = f"{store_keys.checked(guild)}/{token}"
        upload = self._read(guild, token)
        if upload is None or _is_old(upload):
            raise NotFoundError(
                f"This upload is not kept any more: what was only checked stays {KEPT_HOURS} hours "
                f"and only the newest {MOST_KEPT} do.",
                "Upload the zip again.",
                AddDataset(),
            )
        draft = read_draft(self._store, folder, by=upload.by, file_name=upload.file_name)
        return upload.name, replace(draft, trigger=upload.trigger)

    def _sweep(self, guild: str) -> None:
        """Remove what is old, and the oldest of what is too many with the one that comes."""
        found = [(token, self._read(guild, token)) for token in self._tokens(guild)]
        kept = sorted(
            (upload.checked_at, token)
            for token, upload in found
            if upload is not None and not _is_old(upload)
        )
        staying = {token for _, token in kept[-(MOST_KEPT - 1) :]}
        for token, _ in found:
            if token not in staying:
                self._store.delete(f"{store_keys.checked(guild)}/{token}")

    def _tokens(self, guild: str) -> list[str]:
        return self._store.names(store_keys.checked(guild))

    def _read(self, guild: str, token: str) -> CheckedUpload | None:
        key = f"{store_keys.checked(guild)}/{token}/{store_keys.MANIFEST}"
        try:
            return CheckedUpload.model_validate_json(self._store.read(key))
        except FileNotFoundError:
            return None


def _is_old(upload: CheckedUpload) -> bool:
    return datetime.now(UTC) - upload.checked_at > timedelta(hours=KEPT_HOURS)
