"""The upload sessions of all guilds, in one store.

Files arrive in the store's staging folder, and `save` stores everything that has arrived since its
last call. On a Modal Volume, this is one commit for all uploads; on a disk, the files are already
in place.
"""

import logging
import shutil
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from training import store_keys
from training.dataset.limits import Limits
from training.dataset.zip.archive import WHOLE_ZIPS
from training.dataset.zip.directory import is_part_name
from training.dataset.zip.member_names import NameRefusedError, checked_path, printable
from training.errors import NotFoundError, RequestError, TrainingError
from training.files.atomic import atomic_write
from training.files.sizes import GIB, size
from training.ports import Store, StoreChanges
from training.registry.uploads.files import FileFacts, IncomingFile
from training.registry.uploads.session import (
    UploadEndedError,
    UploadSession,
    UploadState,
)
from training.wording import NEW_LINK

logger = logging.getLogger(__name__)
MOST_OPEN = 10  # upload links that one person may have open in a guild
_SPARE_BYTES = GIB // 2
_SESSION, _STATE, _FILES = "session.json", "state.json", "files"


class TooLargeError(RequestError):
    """There are too many files, or they are too large."""


class NoRoomError(TrainingError):
    """The disk is full. The bytes that have arrived are kept."""


@dataclass(slots=True)
class _Loaded:
    """A session whose files are in this process's staging folder.

    Attributes:
        unsaved: Files that `save` must store, as paths relative to `folder`.
        changing: A lock that is held while the files or the state are changed.
    """

    session: UploadSession
    state: UploadState
    key: str
    folder: Path
    files: dict[str, IncomingFile] = field(default_factory=dict[str, IncomingFile])
    unsaved: set[str] = field(default_factory=set[str])
    changing: threading.Lock = field(default_factory=threading.Lock)


class UploadSessions:
    """Creates and finds upload sessions, and keeps their files."""

    def __init__(self, store: Store, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._store = store
        self._loaded: dict[str, _Loaded] = {}
        self._loading, self._saving = threading.Lock(), threading.Lock()

    def create(self, session: UploadSession) -> None:
        """Store a new session; delete the person's open sessions for the same target.

        Raises:
            RequestError: The person has too many open links.
        """
        others = [
            other
            for other, state in self.sessions(session.guild)
            if other.by == session.by and state.status == "open"
        ]
        for other in others:
            if other.target == session.target:
                self.delete(other)
        if sum(other.target != session.target for other in others) >= MOST_OPEN:
            raise RequestError(
                f"You have {MOST_OPEN} upload links open.", "Use or revoke some of them first."
            )
        key = f"{store_keys.upload(session.guild, session.id)}/{_SESSION}"
        self._store.write(key, session.model_dump_json().encode())

    def find(self, guild: str, session_id: str) -> tuple[UploadSession, UploadState]:
        """Return a session and its state.

        Raises:
            UploadEndedError: The session was revoked, or it has expired.
        """
        loaded = self._load(guild, session_id)
        if datetime.now(UTC) > loaded.session.expires_at:
            raise _ended()
        return loaded.session, loaded.state

    def sessions(self, guild: str) -> list[tuple[UploadSession, UploadState]]:
        """Return a guild's stored sessions and states; expired sessions are deleted."""
        found: list[tuple[UploadSession, UploadState]] = []
        for name in self._store.names(store_keys.uploads(guild)):
            try:
                session, state = self._read(guild, name)
            except UploadEndedError:
                self._delete(guild, name)
                continue
            if datetime.now(UTC) > session.expires_at:
                self._delete(guild, name)
            else:
                found.append((session, state))
        return found

    def all(self) -> Iterator[tuple[UploadSession, UploadState]]:
        """Yield the stored sessions and states of all guilds."""
        for guild in self._store.names(store_keys.GUILDS):
            yield from self.sessions(guild)

    def update(self, session: UploadSession, **changes: object) -> UploadState:
        """Change fields of a session's state, store the state and return it."""
        loaded = self._load(session.guild, session.id)
        with loaded.changing:
            return self._update(loaded, StoreChanges(), changes)

    def _update(
        self, loaded: _Loaded, others: StoreChanges, changes: Mapping[str, object]
    ) -> UploadState:
        """Change the state in memory and in the store, or in neither if the store fails.

        `others` are further changes that the store makes at the same time.
        """
        state = loaded.state.model_copy(update=changes)
        written = {f"{loaded.key}/{_STATE}": state.model_dump_json().encode()}
        self._store.change(replace(others, written=written))
        loaded.state = state
        return state

    def files(self, session: UploadSession) -> list[IncomingFile]:
        """Return the files of a session, sorted by path."""
        files = self._load(session.guild, session.id).files.values()
        return sorted(files, key=lambda file: file.facts.path)

    def file(self, session: UploadSession, file_id: str) -> IncomingFile:
        """Return the file with this id.

        Raises:
            NotFoundError: The session has no file with this id.
        """
        try:
            return self._load(session.guild, session.id).files[file_id]
        except KeyError:
            raise NotFoundError("This file is not part of the upload.", "Add it again.") from None

    def add(self, session: UploadSession, facts: FileFacts) -> IncomingFile:
        """Add a file that will be sent, or return it if it was added before.

        A different file with the same path is deleted.

        Raises:
            RequestError: The name cannot be used, or the file is one part of a split archive.
            TooLargeError: The session would have too many files, or they would be too large.
            NoRoomError: The disk has too little free space.
        """
        facts = facts.model_copy(update={"path": _usable_path(facts.path)})
        loaded = self._load(session.guild, session.id)
        with loaded.changing:
            if (known := loaded.files.get(facts.id)) is not None:
                return known
            same = [file for file in loaded.files.values() if file.facts.path == facts.path]
            others = [file for file in loaded.files.values() if file not in same]
            self._require_room(loaded.folder, facts, others)
            for replaced in same:
                self._drop(loaded, replaced)
            name = f"{_FILES}/{facts.id}.json"
            atomic_write(loaded.folder / name, facts.model_dump_json().encode())
            loaded.unsaved.add(name)
            loaded.files[facts.id] = file = IncomingFile(loaded.folder / _FILES, facts)
            return file

    def remove(self, session: UploadSession, file: IncomingFile) -> None:
        loaded = self._load(session.guild, session.id)
        with loaded.changing:
            self._drop(loaded, file)

    def end(self, session: UploadSession, **changes: object) -> UploadState:
        """Change fields of a session's state; delete its files, which are now stored elsewhere."""
        loaded = self._load(session.guild, session.id)
        with loaded.changing:
            loaded.files.clear()
            return self._update(loaded, StoreChanges(deleted=(f"{loaded.key}/{_FILES}",)), changes)

    def save(self) -> None:
        """Store the files and parts that arrived in all sessions since the last call.

        Raises:
            OSError: The store is full or cannot be reached; the next call tries again.
        """
        with self._arrived() as keys:
            if keys:
                self._store.keep(*keys)

    def complete(self, session: UploadSession) -> None:
        """Mark a session whose files have all arrived as complete, and `save` in the same write.

        Raises:
            OSError: The store is full or cannot be reached, so the session is not marked.
        """
        loaded = self._load(session.guild, session.id)
        with self._arrived() as keys, loaded.changing:
            changes: dict[str, object] = {"status": "complete", "result": None}
            self._update(loaded, StoreChanges(kept=keys), changes)

    @contextmanager
    def _arrived(self) -> Generator[list[str]]:
        """Yield the keys of the parts and files that arrived since the last save.

        If the body raises `OSError`, they remain unsaved.
        """
        with self._saving:
            taken = [(loaded, _changes(loaded)) for loaded in list(self._loaded.values())]
            try:
                yield [f"{loaded.key}/{name}" for loaded, names in taken for name in sorted(names)]
            except OSError:
                for loaded, names in taken:
                    loaded.unsaved |= names
                raise

    def delete(self, session: UploadSession) -> None:
        """End a session and delete its files."""
        self._delete(session.guild, session.id)

    def _delete(self, guild: str, session_id: str) -> None:
        self._loaded.pop(session_id, None)
        self._store.delete(store_keys.upload(guild, session_id))

    def _drop(self, loaded: _Loaded, file: IncomingFile) -> None:
        file.delete()
        loaded.files.pop(file.facts.id, None)
        self._store.delete(f"{loaded.key}/{_FILES}/{file.facts.id}.json")

    def _require_room(self, folder: Path, facts: FileFacts, others: list[IncomingFile]) -> None:
        most = self.limits.archive_bytes
        total = facts.size_bytes + sum(file.facts.size_bytes for file in others)
        if total > most:
            raise TooLargeError(
                f"With {printable(facts.path)}, the files total {size(total)}; "
                f"the limit is {size(most)}.",
                "Split the dataset, or shorten the clips.",
            )
        if len(others) >= self.limits.files:
            raise TooLargeError(
                f"There are more than {self.limits.files:,} files.",
                "Upload only the images, clips and captions of one dataset.",
            )
        missing = sum(file.facts.size_bytes - file.received_bytes for file in others)
        if shutil.disk_usage(folder).free < missing + facts.size_bytes + _SPARE_BYTES:
            raise no_room()

    def _read(self, guild: str, session_id: str) -> tuple[UploadSession, UploadState]:
        key = store_keys.upload(guild, session_id)
        try:
            session = UploadSession.model_validate_json(self._store.read(f"{key}/{_SESSION}"))
        except (FileNotFoundError, ValidationError) as error:
            raise _ended() from error
        try:
            state = UploadState.model_validate_json(self._store.read(f"{key}/{_STATE}"))
        except (FileNotFoundError, ValidationError):
            state = UploadState()  # the files that have arrived are checked again
        return session, state

    def _load(self, guild: str, session_id: str) -> _Loaded:
        """Return a session; if it is new to this process, fetch its files from the store.

        Raises:
            UploadEndedError: There is no session with this id.
        """
        if (known := self._loaded.get(session_id)) is not None and known.session.guild == guild:
            return known
        with self._loading:
            if session_id not in self._loaded:
                self._loaded[session_id] = self._restore(*self._read(guild, session_id))
            return self._loaded[session_id]

    def _restore(self, session: UploadSession, state: UploadState) -> _Loaded:
        key = store_keys.upload(session.guild, session.id)
        folder = self._store.staging_path(key)
        (folder / _FILES).mkdir(parents=True, exist_ok=True)
        for stored in list(self._store.walk(f"{key}/{_FILES}")):
            target = folder / stored.key.removeprefix(f"{key}/")
            if not target.exists():
                shutil.copyfile(self._store.fetch(stored.key), target)
        loaded = _Loaded(session, state, key, folder)
        for record in (folder / _FILES).glob("*.json"):
            try:
                facts = FileFacts.model_validate_json(record.read_bytes())
            except (OSError, ValidationError) as error:
                # The sender finds that the file is missing, and sends it again.
                logger.warning("upload %s: %s is damaged: %s", session.id, record.name, error)
                continue
            loaded.files[facts.id] = file = IncomingFile(folder / _FILES, facts)
            file.seal()
        return loaded


def _changes(loaded: _Loaded) -> set[str]:
    """Seal all parts that have arrived, and return the paths of all files to store."""
    with loaded.changing:
        names, loaded.unsaved = loaded.unsaved, set()
        for file in loaded.files.values():
            names |= {f"{_FILES}/{path.name}" for path in file.seal()}
        return names


def no_room() -> NoRoomError:
    return NoRoomError(
        "The bot's disk is full. The data received so far is kept.",
        "Ask the bot's operator to free up space, then resume.",
    )


def _usable_path(path: str) -> str:
    try:
        found = str(checked_path(path))
    except NameRefusedError as error:
        raise RequestError(
            f"{printable(path)!r} cannot be the name of a file.",
            "Rename the file, using letters and digits, and add it again.",
        ) from error
    # A file called set.part2.zip may be a whole zip; this is checked when it has arrived.
    if is_part_name(found) and not found.lower().endswith(".zip"):
        raise RequestError(
            f"{printable(found)} is one part of a split archive, which cannot be opened alone.",
            WHOLE_ZIPS,
        )
    return found


def _ended() -> UploadEndedError:
    return UploadEndedError(
        "This upload link no longer works: it was used or revoked, or it has expired.",
        NEW_LINK,
    )
