"""A list of live runs, shown in each channel that has too many live or waiting runs for cards."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

import discord
from pydantic import BaseModel, ConfigDict, ValidationError

from bot.discord.answers.answers import to_embed
from bot.discord.cards.card_records import RunKey
from bot.discord.cards.channel_queues import PendingUpdate
from bot.discord.cards.refusals import is_message_gone
from bot.messages.runs.answers import live_runs_card
from bot.service.service import Service
from bot.service.threads import in_pool
from training.errors import TrainingError
from training.pipeline.run_view import RunSummary
from training.ports import Store

_LISTS = "bot/lists"
# At the rate that Discord allows, this many cards can each be updated once a minute.
_MOST_CARDS = 25
# A list stays until at most this many runs are left, so that it does not keep coming and going.
_FEWEST_LISTED = 20
# While more runs than the first number wait in a channel, they are only listed; each gets its card
# when it starts. The list stays until at most as many runs as the second number wait.
_MOST_WAITING, _FEWEST_WAITING = 5, 3
_PAUSE_SECONDS = 10.0
_FRESH_SECONDS = 30.0


class _ListRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    message: int


@dataclass(frozen=True, slots=True)
class _Look:
    """Whether a run waited when it was read."""

    at: float
    is_waiting: bool


class ChannelLists:
    """Posts, edits and deletes the lists. Which lists exist is recorded in the store."""

    def __init__(
        self, client: discord.Client, service: Service, store: Store, threads: Executor
    ) -> None:
        self._client, self._service = client, service
        self._store, self._threads = store, threads
        self._messages: dict[int, int] = {}  # by channel
        self._live: Mapping[int, Sequence[RunKey]] = {}
        self._looks: Mapping[RunKey, _Look] = {}
        self._waiting: Mapping[int, frozenset[RunKey]] = {}
        self._shown: dict[int, tuple[float, Sequence[RunSummary]]] = {}

    async def load(self) -> None:
        """Load from the store which lists exist."""
        self._shown.clear()
        self._messages = await in_pool(self._threads, self._read)

    async def look(self, live: Mapping[int, Sequence[RunKey]]) -> None:
        """Note which runs are live, and which of them wait; `live` maps channels to live runs."""
        busy = {channel: runs for channel, runs in live.items() if len(runs) > _FEWEST_WAITING}
        now = asyncio.get_running_loop().time()
        looks = await in_pool(self._threads, self._look_at, [*chain(*busy.values())], now)
        self._looks = looks
        self._waiting = {
            channel: frozenset(run for run in runs if looks[run].is_waiting)
            for channel, runs in busy.items()
        }
        self._live = live

    def holds(self, channel: int, run: RunKey | None = None) -> bool:
        """Return whether a run is only listed for now, so that it gets no card yet.

        If `run` is None, answer for a new run.
        """
        waiting = self._waiting.get(channel, frozenset[RunKey]())
        return self._are_held(channel) and (run is None or run in waiting)

    def _are_held(self, channel: int) -> bool:
        most = _FEWEST_WAITING if channel in self._messages else _MOST_WAITING
        return len(self._waiting.get(channel, ())) > most

    def _is_needed(self, channel: int) -> bool:
        most = _FEWEST_LISTED if channel in self._messages else _MOST_CARDS
        return len(self._live.get(channel, ())) > most or self._are_held(channel)

    def pending(self) -> list[PendingUpdate]:
        """Return an update for each list that may need one."""
        crowded = {channel for channel in self._live if self._is_needed(channel)}
        now = asyncio.get_running_loop().time()
        return [
            PendingUpdate(channel, ("", str(channel)), self._messages.get(channel, 0), about="list")
            for channel in crowded | set(self._messages)
            if now - self._shown.get(channel, (float("-inf"), ()))[0] >= _PAUSE_SECONDS
        ]

    async def show(self, channel: int) -> bool:
        """Update a channel's list if needed; return whether a request was sent to Discord."""
        runs, message = self._live.get(channel, ()), self._messages.get(channel)
        if not self._is_needed(channel):
            return message is not None and await self._remove(channel, message)
        now = asyncio.get_running_loop().time()
        summaries = await in_pool(self._threads, self._summaries, runs)
        shown_at, shown = self._shown.get(channel, (float("-inf"), ()))
        if message is not None and shown == summaries and now - shown_at < _FRESH_SECONDS:
            return False
        now_there = self._service.installation.runtime.clock()
        card = live_runs_card(summaries, now=now_there, are_held=self._are_held(channel))
        await self._write(channel, message, to_embed(card))
        self._shown[channel] = (now, summaries)
        return True

    async def _write(self, channel: int, message: int | None, embed: discord.Embed) -> None:
        place = self._client.get_partial_messageable(channel)
        if message is not None:
            try:
                await place.get_partial_message(message).edit(embed=embed)
            except discord.HTTPException as error:
                if not is_message_gone(error):
                    raise
            else:
                return
        sent = await place.send(embed=embed, silent=True)
        self._messages[channel] = sent.id
        data = _ListRecord(message=sent.id).model_dump_json().encode()
        await in_pool(self._threads, self._store.write, _key(channel), data)

    async def _remove(self, channel: int, message: int) -> bool:
        place = self._client.get_partial_messageable(channel)
        with suppress(discord.NotFound):  # a person deleted the list or its channel
            await place.get_partial_message(message).delete()
        await in_pool(self._threads, self._store.delete, _key(channel))
        self._messages.pop(channel, None)
        self._shown.pop(channel, None)
        return True

    def _look_at(self, runs: Sequence[RunKey], now: float) -> Mapping[RunKey, _Look]:
        """Return which of the runs wait. A run that has started is not read again."""
        return {run: self._new_look(run, self._looks.get(run), now) for run in runs}

    def _new_look(self, run: RunKey, last: _Look | None, now: float) -> _Look:
        if last is not None and (not last.is_waiting or now - last.at < _PAUSE_SECONDS):
            return last
        try:
            return _Look(now, self._service.installation.runs.view(*run).is_waiting)
        except TrainingError:  # damaged, or removed meanwhile
            return _Look(now, is_waiting=False)

    def _summaries(self, runs: Sequence[RunKey]) -> Sequence[RunSummary]:
        found = [self._service.installation.runs.live_summary(*run) for run in runs]
        return sorted(found, key=lambda run: (run.created_at, run.name))

    def _read(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for name, data in self._store.read_all(_LISTS).items():
            try:
                message = _ListRecord.model_validate_json(data).message
            except ValidationError:  # damaged; another list is posted
                continue
            found[int(name.removesuffix(".json"))] = message
        return found


def _key(channel: int) -> str:
    return f"{_LISTS}/{channel}.json"
