"""The records of links to caption pages: whose captions who may change, and until when."""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from training import store_keys
from training.errors import TrainingError
from training.ports import Store
from training.wording import NEW_LINK

MOST_OPEN = 20  # links that one person may have in a guild; the oldest end first


class CaptionsEndedError(TrainingError):
    """The link to a caption page was replaced by newer ones, or it has expired."""


class CaptionSession(BaseModel):
    """A link to the caption page of one dataset, made for one person.

    Attributes:
        by: The person.
        roles: Ids of the roles that the person had in the guild when the link was made.
        manages_server: Whether the person had the Manage Server permission at that time.
        channel: Where new versions are announced; None if nowhere.
        dataset: The name of the dataset.
        waiting: The token of a checked upload that becomes the dataset's next version once the
            page is opened; None if there is none.
        is_bound: Whether a browser has used the link. After that, other browsers are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    guild: str
    by: str
    roles: tuple[str, ...] = ()
    manages_server: bool = False
    channel: str | None
    dataset: str
    waiting: str | None = None
    created_at: datetime
    expires_at: datetime
    is_bound: bool = False


class CaptionSessions:
    """The links to caption pages of all guilds, in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, session: CaptionSession) -> None:
        """Store a new session; delete expired ones, and the person's oldest if there are many."""
        own = [other for other in self._sessions(session.guild) if other.by == session.by]
        own.sort(key=lambda other: other.created_at)
        for other in own[: len(own) - MOST_OPEN + 1] if len(own) >= MOST_OPEN else ():
            self._store.delete(_key(other.guild, other.id))
        self.write(session)

    def write(self, session: CaptionSession) -> None:
        """Store a session, replacing an older record of it."""
        self._store.write(_key(session.guild, session.id), session.model_dump_json().encode())

    def find(self, guild: str, session_id: str) -> CaptionSession:
        """Return a session.

        Raises:
            CaptionsEndedError: The session has ended.
        """
        session = self._read(guild, session_id)
        if session is None or _is_old(session):
            raise CaptionsEndedError("This link has ended.", NEW_LINK)
        return session

    def _sessions(self, guild: str) -> list[CaptionSession]:
        """Return a guild's sessions; those that have expired or are damaged are deleted."""
        found: list[CaptionSession] = []
        for name in self._store.names(store_keys.caption_pages(guild)):
            session = self._read(guild, name)
            if session is None or _is_old(session):
                self._store.delete(_key(guild, name))
            else:
                found.append(session)
        return found

    def _read(self, guild: str, session_id: str) -> CaptionSession | None:
        try:
            return CaptionSession.model_validate_json(self._store.read(_key(guild, session_id)))
        except (FileNotFoundError, ValidationError):  # damaged records count as expired
            return None


def _key(guild: str, session_id: str) -> str:
    return f"{store_keys.caption_pages(guild)}/{session_id}"


def _is_old(session: CaptionSession) -> bool:
    return datetime.now(UTC) > session.expires_at
