"""Posts a run's milestones in a thread below its card, each of them once."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from datetime import timedelta
from typing import Any

import discord
from pydantic import ValidationError

from bot.discord.answers.layouts import picture_file, to_layout
from bot.discord.answers.run_actions import log_files
from bot.discord.buttons.runs import RunButton, run_buttons
from bot.discord.cards.card_records import CardRecord, CardRecords, RunKey
from bot.discord.cards.channel_queues import PendingUpdate
from bot.discord.cards.end_teller import nonce
from bot.discord.cards.refusals import (
    is_archived,
    is_channel_gone,
    is_lasting,
    is_message_gone,
)
from bot.messages.panel import Panel
from bot.messages.picture import Picture
from bot.messages.runs.milestones import (
    Milestone,
    SavedFile,
    ThreadObstacle,
    dataset_panel,
    end_panel,
    merged_panel,
    milestones,
    next_milestones,
    saved_panel,
    warning_panel,
)
from bot.service.run_charts import chart_if_possible
from bot.service.run_sheets import sheet_if_possible
from bot.service.service import Service
from bot.service.threads import in_pool
from training.dataset.report import Report
from training.errors import AdapterError
from training.merge.receipt import Receipt
from training.operations.key_check import check_keys
from training.pipeline.log_tail import LogTail, log_tails
from training.pipeline.run_view import RunView
from training.runs.state import RunStatus
from training.vocabulary import ExpertName, StageKey

_EXISTS = 160004  # the message has a thread already
_NO_THREADS = 50024  # the channel is itself a thread, or of another kind that has none
_NO_ACCESS = 50001  # the bot cannot see the channel, possibly only for now
_LASTING: tuple[ThreadObstacle, ...] = ("place", "deleted")
_ARCHIVE_MINUTES = 24 * 60
_MARK = "/thread"
_LOOKED_AT = 100  # this many of the newest messages are searched for one that may have been sent
logger = logging.getLogger(__name__)


class RunThreads:
    """Opens a run's thread at its first milestone, and posts one message for each milestone.

    A thread has the id of the card that it was opened on. Its messages are queued under that id, so
    that they never delay the cards and announcements of the run's channel.
    """

    def __init__(
        self,
        client: discord.Client,
        service: Service,
        records: CardRecords,
        threads: Executor,
        ended_for: Callable[[RunView], timedelta],
    ) -> None:
        self._client, self._service = client, service
        self._records, self._threads = records, threads
        self._ended_for = ended_for

    def update(self, record: CardRecord, *, is_end: bool = False) -> PendingUpdate:
        """Return the update that posts a run's next milestones."""
        run = (f"{record.guild}{_MARK}", record.run)
        return PendingUpdate(record.thread_id, run, is_end=is_end, about="thread")

    def is_behind(self, view: RunView, record: CardRecord) -> bool:
        """Return whether a run has milestones that are not posted in its thread yet."""
        return not record.is_thread_done and bool(next_milestones(view, record.milestones))

    async def tell(self, update: PendingUpdate) -> bool:
        """Post a run's next message, if there is one; return whether anything was sent."""
        guild, name = update.run
        run = guild.removesuffix(_MARK), name
        record = await self._records.of(run)
        if record is None or record.is_thread_done or not record.message:
            return False
        view = await in_pool(self._threads, self._service.installation.runs.view, *run)
        batch = _cut_off(view, record) or next_milestones(view, record.milestones)
        if batch:
            try:
                await self._post(view, record, batch)
            except discord.HTTPException as error:
                if not await self._give_up(view, run, error):
                    raise
                return True
        await self._note_told(view, run, batch)
        return bool(batch)

    async def _note_told(self, view: RunView, run: RunKey, batch: Sequence[Milestone]) -> None:
        record = await self._records.of(run)
        if record is None:
            return
        told = (*record.milestones, *(one.key for one in batch))
        is_done = view.run.status.is_final and not next_milestones(view, told)
        if not batch and not is_done:
            return
        changes = {"milestones": told, "posting": (), "is_thread_done": is_done}
        await self._records.change(run, **changes, **_shown(record, ""))

    async def _give_up(self, view: RunView, run: RunKey, error: discord.HTTPException) -> bool:
        """Note on the card why there is no thread; return whether to stop trying."""
        record = await self._records.of(run)
        if record is None:
            return True
        if is_message_gone(error) and record.shows_end:  # the deleted card is not posted again
            await self._records.change(run, is_thread_done=True)
            return True
        obstacle = _obstacle(error, is_open=bool(record.thread))
        is_refused = obstacle == "create" or is_lasting(error, self._ended_for(view))
        is_over = obstacle in _LASTING or (view.run.status.is_final and is_refused)
        if is_over or (obstacle and obstacle != record.obstacle):
            await self._records.change(run, is_thread_done=is_over, **_shown(record, obstacle))
        return is_over

    async def _post(self, view: RunView, record: CardRecord, batch: Sequence[Milestone]) -> None:
        """Open the thread if necessary, and post one message unless it was posted before.

        The record says what is being posted. If the bot is killed before it has noted the result,
        the next copy looks for the message in the thread.
        """
        run, keys = (record.guild, record.run), tuple(one.key for one in batch)
        thread = record.thread or await self._open(record)
        panel = await self._panel(view, batch)
        if record.posting == keys and await self._is_posted(thread, panel):
            return
        await self._records.change(run, thread=thread, posting=keys)
        await self._send(view, thread, panel, batch)

    async def _open(self, record: CardRecord) -> int:
        try:
            # Use ids, because discord.py's cache lacks the servers that Discord announces late.
            await self._client.http.start_thread_with_message(
                record.channel,
                record.message,
                name=record.run,
                auto_archive_duration=_ARCHIVE_MINUTES,
            )
        except discord.HTTPException as error:
            # The thread exists if a person opened it, or if the bot was killed after opening it.
            if error.code != _EXISTS:
                raise
        return record.message

    async def _is_posted(self, thread: int, panel: Panel) -> bool:
        channel, me = self._client.get_partial_messageable(thread), self._client.user
        async for message in channel.history(limit=_LOOKED_AT):
            if me is not None and message.author.id == me.id and _head(message) == panel.blocks[0]:
                return True
        return False

    async def _send(
        self, view: RunView, thread: int, panel: Panel, batch: Sequence[Milestone]
    ) -> None:
        picture, tails = await self._picture(view, batch[0]), list[LogTail]()
        if batch[0].kind == "end" and view.run.status is RunStatus.FAILED:
            runtime = self._service.installation.runtime
            tails = await in_pool(self._threads, log_tails, runtime, view.run)
        channel = self._client.get_partial_messageable(thread)
        try:
            await channel.send(**_message(view, panel, batch, picture, tails))
        except discord.Forbidden as error:
            if picture is None and not tails:
                raise
            logger.warning("run %s: its thread does not accept files: %s", view.spec.name, error)
            await channel.send(**_message(view, panel, batch, None, ()))

    async def _picture(self, view: RunView, first: Milestone) -> Picture | None:
        installation = self._service.installation
        match first.kind:
            case "dataset":
                return await in_pool(self._threads, sheet_if_possible, installation, view.spec)
            case "saved" | "end":
                runtime = installation.runtime
                return await in_pool(self._threads, chart_if_possible, runtime, view)
            case "merged" | "warning":
                return None

    async def _panel(self, view: RunView, batch: Sequence[Milestone]) -> Panel:
        first = batch[0]
        match first.kind:
            case "dataset":
                report = await in_pool(self._threads, self._report, view)
                return dataset_panel(view.spec, report)
            case "merged":
                expert = first.expert or "main"
                receipt = await in_pool(self._threads, self._receipt, view, expert)
                return merged_panel(view, expert, receipt)
            case "saved":
                links = await self._service.checkpoint_links(view, [one.key for one in batch])
                files = await in_pool(self._threads, self._files, view, batch, links)
                return saved_panel(view, batch, files)
            case "warning":
                return warning_panel(first)
            case "end":
                return end_panel(view)

    def _report(self, view: RunView) -> Report | None:
        try:
            return self._service.installation.runtime.report(view.spec)
        except (FileNotFoundError, ValidationError):
            return None

    def _receipt(self, view: RunView, expert: ExpertName) -> Receipt | None:
        key = view.spec.keys.receipt(StageKey("merge", expert))
        try:
            data = self._service.installation.runtime.store.read(key)
            return Receipt.model_validate_json(data)
        except (FileNotFoundError, ValidationError):
            return None

    def _files(
        self, view: RunView, batch: Sequence[Milestone], links: dict[str, str]
    ) -> dict[str, SavedFile]:
        return {one.key: self._file(view, one, links[one.key]) for one in batch}

    def _file(self, view: RunView, one: Milestone, url: str) -> SavedFile:
        if one.saved is None or one.expert is None:
            raise ValueError(f"{one.key} is not a checkpoint")
        store = self._service.installation.runtime.store
        try:
            return SavedFile(url, check_keys(store, view.spec, one.expert, one.saved))
        except AdapterError as error:
            return SavedFile(url, error.cause, is_right=False)
        except OSError as error:
            logger.debug("run %s: %s is not checked: %s", view.spec.name, one.key, error)
            return SavedFile(url)


def _message(
    view: RunView,
    panel: Panel,
    batch: Sequence[Milestone],
    picture: Picture | None,
    tails: Sequence[LogTail],
) -> dict[str, Any]:
    """Return the arguments that send a message with its picture and logs."""
    logs = log_files(tails)
    return {
        "view": to_layout(panel, _buttons(view, batch[0]), picture=picture, files=logs),
        "files": [*picture_file(picture), *logs],
        "silent": True,
        "nonce": nonce(view, f"milestones {' '.join(one.key for one in batch)}"),
    }


def _cut_off(view: RunView, record: CardRecord) -> list[Milestone]:
    """Return what was being posted when the bot last stopped or failed."""
    return [one for one in milestones(view) if one.key in record.posting]


def _shown(record: CardRecord, obstacle: ThreadObstacle) -> dict[str, object]:
    """Return the changes to the record that make the card show a new obstacle."""
    return {} if record.obstacle == obstacle else {"obstacle": obstacle, "shows_end": False}


def _obstacle(error: discord.HTTPException, *, is_open: bool) -> ThreadObstacle:
    """Return why a thread cannot be used; "" if the reason is unknown or may pass."""
    if is_channel_gone(error):
        return "deleted"
    if error.code == _NO_THREADS:
        return "place"
    if is_archived(error):
        return "locked"
    if isinstance(error, discord.Forbidden) and error.code != _NO_ACCESS:
        return "send" if is_open else "create"
    return ""


def _buttons(view: RunView, first: Milestone) -> list[RunButton]:
    match first.kind:
        case "end":
            return run_buttons(view)
        case "saved":
            return [RunButton("download", view.spec.name)]
        case "dataset" | "merged" | "warning":
            return []


def _head(message: discord.Message) -> str:
    """Return the first text of a message that was sent with components."""
    first = message.components[0] if message.components else None
    inner = first.children[0] if isinstance(first, discord.Container) and first.children else None
    return inner.content if isinstance(inner, discord.TextDisplay) else ""
