"""Shows the progress of each running import in a message, which is deleted when the import ends."""

from concurrent.futures import Executor
from contextlib import suppress

import discord
from pydantic import BaseModel, ConfigDict, ValidationError

from bot.discord.answers.answers import to_embed
from bot.discord.buttons.uploads import stop_button
from bot.discord.cards.channel_queues import PendingUpdate
from bot.discord.cards.refusals import is_message_gone
from bot.messages.card import Card
from bot.messages.uploads import ImportProgress, import_progress_card
from bot.service.service import Service
from bot.service.threads import in_pool
from training import store_keys
from training.ports import Store


class _ImportCard(BaseModel):
    """Where an import's message is; `message` is 0 if a person deleted it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    channel: int
    message: int


class ImportCards:
    """Posts, edits and deletes the imports' progress messages, and stores where they are."""

    def __init__(
        self, client: discord.Client, service: Service, store: Store, threads: Executor
    ) -> None:
        self._client, self._service = client, service
        self._store, self._threads = store, threads
        self._cards: dict[str, _ImportCard] = {}  # by session
        self._running: dict[str, ImportProgress] = {}
        self._shown: dict[str, Card] = {}

    async def load(self) -> None:
        """Load from the store which messages exist."""
        self._shown.clear()
        self._cards = await in_pool(self._threads, self._read)

    def pending(self) -> list[PendingUpdate]:
        """Return an update for each message that may need one."""
        imports = self._service.imports
        self._running = {one.session.id: one for one in imports.progress()}
        ended = set(self._cards).difference(self._running) if imports.has_resumed else ()
        return [
            PendingUpdate(channel, ("", session), self._message(session), about="import")
            for session in (*self._running, *ended)
            if (channel := self._channel(session))
        ]

    async def show(self, update: PendingUpdate) -> bool:
        """Update an import's message if needed; return whether a request was sent to Discord."""
        _, session = update.run
        progress, card = self._running.get(session), self._cards.get(session)
        if progress is None:
            return card is not None and await self._remove(session, card)
        shown = import_progress_card(progress)
        if self._shown.get(session) == shown or (card is not None and not card.message):
            return False
        place = self._client.get_partial_messageable(update.channel)
        if card is None:
            sent = await place.send(embed=to_embed(shown), view=stop_button(session), silent=True)
            await self._keep(session, _ImportCard(channel=update.channel, message=sent.id))
        else:
            try:
                await place.get_partial_message(card.message).edit(embed=to_embed(shown))
            except discord.HTTPException as error:
                if not is_message_gone(error):
                    raise
                await self._keep(session, _ImportCard(channel=update.channel, message=0))
        self._shown[session] = shown
        return True

    def _channel(self, session: str) -> int:
        """Return the channel of an import; 0 if it was not started in chat."""
        if (card := self._cards.get(session)) is not None:
            return card.channel
        return int(self._running[session].session.channel or 0)

    def _message(self, session: str) -> int:
        card = self._cards.get(session)
        return card.message if card is not None else 0

    async def _keep(self, session: str, card: _ImportCard) -> None:
        self._cards[session] = card
        data = card.model_dump_json().encode()
        await in_pool(self._threads, self._store.write, store_keys.import_card(session), data)

    async def _remove(self, session: str, card: _ImportCard) -> bool:
        if card.message:
            place = self._client.get_partial_messageable(card.channel)
            with suppress(discord.NotFound):  # a person deleted the message or its channel
                await place.get_partial_message(card.message).delete()
        await in_pool(self._threads, self._store.delete, store_keys.import_card(session))
        self._cards.pop(session, None)
        self._shown.pop(session, None)
        return bool(card.message)

    def _read(self) -> dict[str, _ImportCard]:
        found: dict[str, _ImportCard] = {}
        for name, data in self._store.read_all(store_keys.IMPORT_CARDS).items():
            with suppress(ValidationError):
                found[name.removesuffix(".json")] = _ImportCard.model_validate_json(data)
        return found
