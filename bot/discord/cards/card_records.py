"""Records where each run's card is, and whether the run's end was shown and announced."""

import asyncio
import logging
from concurrent.futures import Executor
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bot.messages.runs.milestones import ThreadObstacle, thread_note
from bot.service.threads import in_pool
from training import store_keys
from training.ports import Store, StoreChanges
from training.store_keys import RunKeys

_CARDS, _TOLD = "bot/cards", "bot/told"
RunKey = tuple[str, str]  # guild, name
logger = logging.getLogger(__name__)


class CardRecord(BaseModel):
    """One run's card.

    Attributes:
        channel: Id of the channel with the card; 0 if there is no card.
        message: Id of the card's message; 0 if there is no card.
        is_told: Whether the run's end was announced.
        shows_end: Whether the card needs no more edits: it shows the end, or cannot be edited.
        thread: Id of the run's thread; 0 if it was not opened.
        milestones: The milestones that have been posted in the thread.
        posting: The milestones in the last message sent to the thread, while it is unknown whether
            that message arrived.
        obstacle: Why the thread cannot be used; "" if it can, or was not needed yet.
        is_thread_done: Whether the thread needs no more messages.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    guild: str
    run: str
    channel: int
    message: int
    is_told: bool = False
    shows_end: bool = False
    thread: int = 0
    milestones: tuple[str, ...] = ()
    posting: tuple[str, ...] = ()
    obstacle: ThreadObstacle = ""
    is_thread_done: bool = False

    @property
    def is_done(self) -> bool:
        return self.is_told and self.shows_end and self.is_thread_done

    @property
    def thread_id(self) -> int:
        """Id of the run's thread; before it is opened, the id that it will have."""
        return self.thread or self.message

    @property
    def note(self) -> str:
        """The card's line about the thread; "" if the thread hangs below the card."""
        is_elsewhere = self.thread != self.message
        return thread_note(self.obstacle, self.thread if is_elsewhere else None)


class CardRecords:
    """Stores and caches all records. Only the active copy of the bot may change them."""

    def __init__(self, store: Store, threads: Executor) -> None:
        self._store, self._threads = store, threads
        self._known: dict[RunKey, CardRecord] = {}
        self._locks: dict[RunKey, asyncio.Lock] = {}

    def forget(self) -> None:
        """Empty the cache, because another copy of the bot may have changed the records."""
        self._known.clear()

    async def of(self, key: RunKey) -> CardRecord | None:
        if (
            key not in self._known
            and (found := await in_pool(self._threads, self._read, key)) is not None
        ):
            self._known.setdefault(key, found)
        return self._known.get(key)

    def known(self, key: RunKey) -> CardRecord | None:
        return self._known.get(key)

    async def save(self, record: CardRecord) -> None:
        """Store a new record."""
        key = (record.guild, record.run)
        self._known[key] = record
        await self._store_newest(key)

    async def change(self, key: RunKey, **changes: Any) -> None:
        """Change some fields of a run's record; earlier changes to other fields are kept."""
        record = await self.of(key)
        if record is not None:
            self._known[key] = record.model_copy(update=changes)
            await self._store_newest(key)

    async def untold(self) -> list[RunKey]:
        """Return all runs except those whose end has been both shown and announced."""
        names = await in_pool(self._threads, self._store.names, store_keys.UNANNOUNCED)
        return [(keys.guild, keys.name) for keys in map(RunKeys.of_marker, names)]

    async def _store_newest(self, key: RunKey) -> None:
        # Write one version at a time, each with all changes so far, so that no change is lost.
        async with self._locks.setdefault(key, asyncio.Lock()):
            record = self._known.get(key)
            if record is None:
                return  # an earlier write had this change and was the last one
            await in_pool(self._threads, self._write, record)
            if record.is_done and self._known.get(key) is record:
                del self._known[key], self._locks[key]

    def _read(self, key: RunKey) -> CardRecord | None:
        for folder in (_CARDS, _TOLD):
            try:
                data = self._store.read(_record_key(folder, key))
                return CardRecord.model_validate_json(data)
            except FileNotFoundError:
                continue
            except ValidationError:
                logger.warning("run %s: the record of its card is damaged; posting another", key[1])
                self._store.delete(_record_key(folder, key))
        return None

    def _write(self, record: CardRecord) -> None:
        key = (record.guild, record.run)
        data = record.model_dump_json().encode()
        card = _record_key(_CARDS, key)
        if not record.is_done:
            self._store.write(card, data)
            return
        told = {_record_key(_TOLD, key): data}
        gone = (card, RunKeys(*key).unannounced)
        self._store.change(StoreChanges(written=told, deleted=gone))


def _record_key(folder: str, key: RunKey) -> str:
    return f"{folder}/{'~'.join(key)}.json"
