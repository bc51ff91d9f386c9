"""Keeps one card per run up to date across restarts, and announces each run's end once."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import aiohttp
import discord

from bot.discord.answers.layouts import picture_file, to_layout
from bot.discord.answers.lost_connections import is_outage
from bot.discord.buttons.runs import run_buttons
from bot.discord.cards.card_records import CardRecord, CardRecords, RunKey
from bot.discord.cards.channel_lists import ChannelLists
from bot.discord.cards.channel_queues import ChannelQueues, Pace, PendingUpdate
from bot.discord.cards.end_teller import EndTeller, nonce
from bot.discord.cards.import_cards import ImportCards
from bot.discord.cards.pauses import Pauses
from bot.discord.cards.pictures import with_picture
from bot.discord.cards.refusals import is_archived, is_lasting, is_message_gone
from bot.discord.cards.run_threads import RunThreads
from bot.messages.picture import Picture
from bot.messages.runs.card import run_card
from bot.service.run_charts import chart_if_possible
from bot.service.service import Service
from bot.service.threads import in_pool
from training.errors import NotFoundError, RequestError
from training.pipeline.run_view import RunView
from training.ports import Store

# In each channel, Discord allows 3 edits per 6 s to messages older than an hour. The interval is a
# little over 2 s because requests can reach Discord closer together than they were sent.
_OLD_MESSAGE_SECONDS = 60 * 60
_OLD_MARGIN_SECONDS = 60.0
_OLD_EDIT_SECONDS = 2.2
# Discord allows 5 edits and 5 messages per 5 s in each channel. At this pace, the announcement of
# a run's end never has to wait for the limit.
_EDIT_SECONDS = _SEND_SECONDS = 1.0
# A card shows how long ago it was updated, so refresh it this often even if nothing has changed.
_FRESH_SECONDS = 30.0
# Half of the 50 requests a second that Discord allows, not counting answers to interactions.
_PER_SECOND = 25
_READS_AT_ONCE = 2
# Discord archives a thread after an hour of silence at the earliest. If a thread is archived within
# an hour after the bot reopened it, a person has closed it.
_REOPEN_SECONDS = 60 * 60
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Shown:
    view: RunView
    at: float


class CardKeeper:
    """Posts and edits the cards of runs and imports, and announces each run's end and milestones.

    Its state is kept in the store, so that it survives a restart.
    """

    def __init__(
        self,
        client: discord.Client,
        service: Service,
        store: Store,
        *,
        edit_seconds: float = 5.0,
    ) -> None:
        self._client = client
        self._service = service
        self._edit_seconds = edit_seconds
        # Use separate threads, so that cards and commands never wait for each other.
        self._threads = ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="cards")
        self._records = CardRecords(store, self._threads)
        self._lists = ChannelLists(client, service, store, self._threads)
        self._imports = ImportCards(client, service, store, self._threads)
        self._ends = EndTeller(client, service)
        self._run_threads = RunThreads(
            client, service, self._records, self._threads, self._ends.ended_for
        )
        self._channels: dict[RunKey, int] = {}
        self._shown: dict[RunKey, _Shown] = {}
        self._reopened_at: dict[int, float] = {}
        self._locks: dict[RunKey, asyncio.Lock] = {}
        self._pauses = Pauses()
        pace = Pace(1 / _PER_SECOND)
        self._posts = ChannelQueues("posting", self._send, distance=_send_pause, pace=pace)
        self._edits = ChannelQueues("editing", self._edit, distance=self._edit_pause, pace=pace)

    async def keep(self) -> None:
        """Post cards and keep them up to date until cancelled."""
        # Another copy may have edited the cards since this one was last active.
        self._records.forget()
        self._shown.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._posts.run(), name="new cards and announcements")
            group.create_task(self._edits.run(), name="edits of cards")
            await self._lists.load()
            await self._imports.load()
            while True:
                await self._refresh()
                await asyncio.sleep(self._edit_seconds)

    def close(self) -> None:
        """Shut down the threads; the keeper cannot be used afterwards."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def show(self, guild: str, run: str) -> None:
        """Post the run's card if it has none; if the run has already ended, announce that too.

        If many runs wait in the channel, the card is posted later, and a list shows the run.

        Raises:
            RequestError: The bot has no permission to post in the channel.
        """
        try:
            update = await self._pending((guild, run), is_end=False)
            if not self._lists.holds(update.channel):
                await self._announce(update)
        except discord.Forbidden as error:
            raise RequestError(
                f"{run} started, but the bot has no permission to post its card here.",
                "Give the bot View Channel, Send Messages and Embed Links in this channel.",
            ) from error
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
            if not is_outage(error):
                raise
            logger.info("run %s: its card will be posted later: %s", run, error)

    def look_again(self, guild: int) -> None:
        """End the pauses of a server's channels, because the server or its permissions changed."""
        runs = [run for run in self._channels if run[0] == str(guild)]
        records = (self._records.known(run) for run in runs)
        channels = {self._channels[run] for run in runs}
        channels |= {record.thread_id for record in records if record is not None}
        self._posts.look_again(channels)
        self._edits.look_again(channels)

    async def _refresh(self) -> None:
        """Queue every message that may have to be posted or edited, even after a failure."""
        for update in self._imports.pending():
            self._edits.add(update)
        try:
            open_runs = await self._service.open_runs()
            untold = await self._records.untold()
        except OSError as error:
            self._pauses.begin("list", "the runs cannot be listed", error)
            return
        self._pauses.end("list", "listing the runs")
        still_open, watched = set(open_runs), dict.fromkeys([*untold, *open_runs])
        asked = [await self._asked(run, is_end=run not in still_open) for run in watched]
        await self._look_at_channels(open_runs)
        for update in filter(None, asked):
            self._queue(update)
        for update in self._lists.pending():
            self._edits.add(update)
        for known in (self._channels, self._shown, self._locks):
            for run in [run for run in known if run not in watched]:
                del known[run]

    async def _look_at_channels(self, open_runs: Sequence[RunKey]) -> None:
        """Tell the channel lists which runs are live in which channel."""
        live: dict[int, list[RunKey]] = {}
        for run in open_runs:
            live.setdefault(self._channels.get(run, 0), []).append(run)
        live.pop(0, None)
        try:
            await self._lists.look(live)
        except Exception as error:  # noqa: BLE001  # cards must not depend on the lists
            self._pauses.begin("lists", "it is unknown which runs wait", error)
        else:
            self._pauses.end("lists", "finding out which runs wait")

    async def _asked(self, run: RunKey, *, is_end: bool) -> PendingUpdate | None:
        if self._pauses.left(run):
            return None
        try:
            return await self._pending(run, is_end=is_end)
        except NotFoundError:
            return None  # the run is not stored yet
        except Exception as error:  # noqa: BLE001  # one run must not stop the others
            self._pauses.begin(run, f"run {run[1]}: its card", error)
            return None

    def _queue(self, update: PendingUpdate) -> None:
        is_held = self._lists.holds(update.channel, update.run)
        if update.channel and (update.is_end or not (update.message or is_held)):
            self._posts.add(update)
        if update.message:
            self._edits.add(update)
            record = self._records.known(update.run)
            if update.is_end and record is not None and not record.is_thread_done:
                self._posts.add(self._run_threads.update(record, is_end=True))

    async def _pending(self, run: RunKey, *, is_end: bool) -> PendingUpdate:
        """Return an update of a run's card; `channel` is 0 if the run did not start in chat."""
        record = await self._records.of(run)
        if run not in self._channels:
            log = self._service.installation.runtime.log(*run)
            spec = await in_pool(self._threads, log.spec)
            self._channels[run] = int(spec.channel or 0)
        message = 0 if record is None else record.message
        return PendingUpdate(self._channels[run], run, message, is_end)

    async def _send(self, update: PendingUpdate) -> bool:
        """Post a run's missing messages; return whether a request was sent to Discord."""
        if update.about == "thread":
            return await self._run_threads.tell(update)
        return await self._announce(update)

    async def _announce(self, update: PendingUpdate) -> bool:
        """Post the run's card if it has none; if the run has ended, announce that once.

        Returns:
            Whether a message was sent.
        """
        async with self._locks.setdefault(update.run, asyncio.Lock()):
            record = await self._records.of(update.run)
            if not update.channel or (record is not None and (record.is_told or not update.is_end)):
                return False
            view = await self._view(update.run)
            is_end = view.run.status.is_final
            if record is None:
                record = await self._first_card(view)
            if is_end:
                await self._ends.tell(view, record)
                await self._records.change(update.run, is_told=True)
        # The channel has just accepted a message, so edits that failed before may work now.
        self._edits.look_again([update.channel])
        return True

    async def _first_card(self, view: RunView) -> CardRecord:
        """Post and record the run's card.

        If the run has ended and its channel refuses the card for good, record that it has no card.
        """
        spec, is_end, message = view.spec, view.run.status.is_final, None
        try:
            message = await self._post(view)
        except discord.HTTPException as error:
            if not is_end or not is_lasting(error, self._ends.ended_for(view)):
                raise
        record = CardRecord(
            guild=spec.guild,
            run=spec.name,
            channel=message.channel.id if message else 0,
            message=message.id if message else 0,
            shows_end=is_end,
            is_thread_done=message is None,
        )
        await self._records.save(record)
        return record

    async def _post(self, view: RunView, instead_of: CardRecord | None = None) -> discord.Message:
        gone, note = 0, ""
        if instead_of is not None:
            gone = instead_of.message
            # The thread is not attached to the new card, so the card must link to it.
            note = instead_of.model_copy(update={"message": 0}).note
        card, buttons = run_card(view, now=self._now(), note=note), run_buttons(view)
        channel = self._channel(int(view.spec.channel or 0))

        async def send(chart: Picture | None) -> discord.Message:
            return await channel.send(
                view=to_layout(card, buttons, picture=chart),
                files=picture_file(chart),
                silent=True,
                nonce=nonce(view, f"card {gone}"),
            )

        message = await with_picture(view.spec.name, await self._chart(view), send)
        self._note_shown(view)
        return message

    async def _chart(self, view: RunView) -> Picture | None:
        """Return the chart of an ended run, if it has one."""
        if not view.run.status.is_final:
            return None
        runtime = self._service.installation.runtime
        return await in_pool(self._threads, chart_if_possible, runtime, view)

    async def _edit(self, update: PendingUpdate) -> bool:
        """Update a message if needed; return whether a request was sent to Discord."""
        match update.about:
            case "list":
                return await self._lists.show(update.channel)
            case "import":
                return await self._imports.show(update)
            case "run":
                return await self._edit_card(update)
            case "thread":
                raise ValueError("messages in threads are not edited")

    async def _edit_card(self, update: PendingUpdate) -> bool:
        """Update a run's card if needed; return whether a request was sent to Discord."""
        record = await self._records.of(update.run)
        if record is None or record.shows_end or not record.message:
            return False
        view = await self._view(update.run)
        is_end = view.run.status.is_final
        if not is_end and self._run_threads.is_behind(view, record):
            self._posts.add(self._run_threads.update(record))
        if not is_end and not self._is_due(view):
            return False
        try:
            await self._edit_message(record, view)
        except discord.HTTPException as error:
            if is_message_gone(error):
                new = await self._post(view, record)
                await self._records.change(update.run, message=new.id, shows_end=is_end)
                return True
            if not is_end or not is_lasting(error, self._ends.ended_for(view)):
                raise
        self._note_shown(view)
        newest = await self._records.of(update.run)
        if is_end and newest is not None and newest.note == record.note:
            await self._records.change(update.run, shows_end=True)
        return True

    async def _edit_message(self, record: CardRecord, view: RunView) -> None:
        message = self._channel(record.channel).get_partial_message(record.message)
        chart = await self._chart(view)
        try:
            await self._draw(message, view, record.note, chart)
        except discord.HTTPException as error:
            is_end = view.run.status.is_final
            if not is_archived(error) or not await self._reopen(record.channel, is_end=is_end):
                raise
            await self._draw(message, view, record.note, chart)

    async def _draw(
        self, message: discord.PartialMessage, view: RunView, note: str, chart: Picture | None
    ) -> None:
        card, buttons = run_card(view, now=self._now(), note=note), run_buttons(view)

        async def edit(picture: Picture | None) -> None:
            await message.edit(
                # Earlier versions of the bot drew the card as an embed, which components replace.
                embed=None,
                view=to_layout(card, buttons, picture=picture),
                attachments=picture_file(picture),
                # Without this, an edit would ping the people that the card names.
                allowed_mentions=discord.AllowedMentions.none(),
            )

        await with_picture(view.spec.name, chart, edit)

    async def _reopen(self, channel: int, *, is_end: bool) -> bool:
        """Unarchive a thread; return whether that worked.

        If a person seems to have closed it, unarchive it only to show a run's end.
        """
        now = asyncio.get_running_loop().time()
        if not is_end and now - self._reopened_at.get(channel, float("-inf")) < _REOPEN_SECONDS:
            return False
        thread = await self._client.fetch_channel(channel)
        if not isinstance(thread, discord.Thread):
            return False
        try:
            await thread.edit(archived=False)
        except discord.Forbidden:  # the thread is locked
            return False
        self._reopened_at[channel] = now
        return True

    def _is_due(self, view: RunView) -> bool:
        shown = self._shown.get((view.spec.guild, view.spec.name))
        if shown is None or shown.view != view:
            return True
        return asyncio.get_running_loop().time() - shown.at >= _FRESH_SECONDS

    def _note_shown(self, view: RunView) -> None:
        now = asyncio.get_running_loop().time()
        self._shown[view.spec.guild, view.spec.name] = _Shown(view, now)

    def _edit_pause(self, update: PendingUpdate) -> float:
        posted_at = discord.utils.snowflake_time(update.message)
        age = (self._now() - posted_at).total_seconds()
        is_old = age > _OLD_MESSAGE_SECONDS - _OLD_MARGIN_SECONDS
        return _OLD_EDIT_SECONDS if is_old else min(_EDIT_SECONDS, self._edit_seconds)

    async def _view(self, run: RunKey) -> RunView:
        return await in_pool(self._threads, self._service.installation.runs.view, *run)

    def _now(self) -> datetime:
        return self._service.installation.runtime.clock()

    def _channel(self, channel: int) -> discord.PartialMessageable:
        # Address channels by id, because discord.py's cache lacks archived threads and the servers
        # that Discord announces late.
        return self._client.get_partial_messageable(channel)


def _send_pause(_update: PendingUpdate) -> float:
    return _SEND_SECONDS
