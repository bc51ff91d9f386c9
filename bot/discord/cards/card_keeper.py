"""Keeps one card per run up to date across restarts, and pings once when the run ends."""

import asyncio
import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import aiohttp
import discord

from bot.discord.answers.embed import to_embed
from bot.discord.buttons.runs import run_buttons
from bot.messages.card import Card
from bot.messages.lists import ended_ping
from bot.messages.run_card import run_card
from bot.service.service import Service
from bot.service.threads import in_thread
from training import store_keys
from training.errors import NotFoundError, RequestError, TrainingError
from training.pipeline.run_view import RunView
from training.ports import Store
from training.store_keys import RunKeys

_CARDS, _TOLD = "bot/cards", "bot/told"
_Channel = discord.TextChannel | discord.Thread | discord.VoiceChannel
logger = logging.getLogger(__name__)

# Discord allows 3 edits per 6 s a channel for messages older than an hour.
_OLD_MESSAGE_SECONDS = 60 * 60
_OLD_EDIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class CardRecord:
    """Where a run's card is, and whether its end was announced."""

    guild: str
    run: str
    channel: int
    message: int
    is_told: bool = False


class CardKeeper:
    """Edits the cards of open runs. Its state is in the store."""

    def __init__(
        self,
        client: discord.Client,
        service: Service,
        store: Store,
        *,
        edit_seconds: float = 5.0,
        team_role: str | None = None,
    ) -> None:
        self._client = client
        self._service = service
        self._store = store
        self._edit_seconds = edit_seconds
        self._team_role = team_role
        self._shown: dict[tuple[str, str], str] = {}
        self._edited_at: dict[tuple[str, str], float] = {}
        self._without_channel: set[tuple[str, str]] = set()
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def keep(self) -> None:
        """Refresh all cards until cancelled."""
        # Another copy may have edited the cards since this one was last active.
        self._shown.clear()
        while True:
            await self.refresh()
            await asyncio.sleep(self._edit_seconds)

    async def refresh(self) -> None:
        """Update the cards of runs that are open or whose end is not announced yet."""
        open_runs = await self._service.open_runs()
        untold = await in_thread(self._untold)
        for guild, run in dict.fromkeys([*open_runs, *untold]):
            try:
                await self.show(guild, run)
            except NotFoundError:
                logger.debug("run %s: not stored yet", run)
            except (discord.HTTPException, TrainingError, aiohttp.ClientError, OSError):
                # The next round tries again; one broken card must not stop the others.
                logger.warning("run %s: cannot update its card", run, exc_info=True)

    async def show(self, guild: str, run: str) -> None:
        """Post or edit the run's card, and announce its end once."""
        key = (guild, run)
        async with self._locks.setdefault(key, asyncio.Lock()):
            view = await self._service.run(guild, run)
            record = await in_thread(self._record, guild, run)
            if record is not None and record.is_told:
                return
            channel = self._channel(view)
            if channel is None:
                await self._give_up(record, view)
                return
            if record is None:
                record = await self._post(channel, view)
            elif self._is_due(key, record, view):
                record = await self._edit(channel, record, view)
            if view.run.status.is_final:
                await self._tell(channel, record, view)

    async def _give_up(self, record: CardRecord | None, view: RunView) -> None:
        """Stop updating a run whose channel is gone or hidden; `/status` still shows it."""
        key = (view.spec.guild, view.spec.name)
        if key not in self._without_channel:
            self._without_channel.add(key)
            logger.warning("run %s: its channel is gone, so it has no card", view.spec.name)
        if view.run.status.is_final:
            known = record or CardRecord(*key, channel=0, message=0)
            await in_thread(self._save, replace(known, is_told=True))

    async def _post(self, channel: _Channel, view: RunView, instead_of: int = 0) -> CardRecord:
        try:
            message = await channel.send(
                embed=to_embed(self._card(view)),
                view=run_buttons(view),
                silent=True,
                nonce=_nonce(view, f"card {instead_of}"),
            )
        except discord.Forbidden as error:
            raise RequestError(
                f"The run {view.spec.name} has started, but the bot may not post its card here.",
                "Give the bot View Channel, Send Messages and Embed Links in this channel.",
            ) from error
        spec = view.spec
        record = CardRecord(spec.guild, spec.name, message.channel.id, message.id)
        await in_thread(self._save, record)
        return record

    async def _edit(self, channel: _Channel, record: CardRecord, view: RunView) -> CardRecord:
        embed = to_embed(self._card(view))
        content = json.dumps(embed.to_dict(), sort_keys=True)
        key = (record.guild, record.run)
        if self._shown.get(key) == content:
            return record
        message = channel.get_partial_message(record.message)
        try:
            await message.edit(embed=embed, view=run_buttons(view))
        except discord.NotFound:
            # The card was deleted: post a new one.
            return await self._post(channel, view, instead_of=record.message)
        self._shown[key] = content
        self._edited_at[key] = asyncio.get_running_loop().time()
        return record

    async def _tell(self, channel: _Channel, record: CardRecord, view: RunView) -> None:
        role = self._role(view)
        mentions = f"<@{view.spec.requested_by}>" + (f" {role.mention}" if role else "")
        owner = discord.Object(int(view.spec.requested_by))
        allowed = discord.AllowedMentions(users=[owner], roles=[role] if role else False)
        await channel.send(
            f"{mentions} {ended_ping(view)}",
            allowed_mentions=allowed,
            reference=discord.MessageReference(
                message_id=record.message, channel_id=record.channel, fail_if_not_exists=False
            ),
            mention_author=False,
            nonce=_nonce(view, "end"),
        )
        await in_thread(self._save, replace(record, is_told=True))

    def _is_due(self, key: tuple[str, str], record: CardRecord, view: RunView) -> bool:
        if view.run.status.is_final:
            return True
        age = (datetime.now(UTC) - discord.utils.snowflake_time(record.message)).total_seconds()
        pause = _OLD_EDIT_SECONDS if age > _OLD_MESSAGE_SECONDS else 0.0
        since = asyncio.get_running_loop().time() - self._edited_at.get(key, float("-inf"))
        return since >= pause

    def _card(self, view: RunView) -> Card:
        return run_card(view, now=datetime.now(UTC))

    def _channel(self, view: RunView) -> _Channel | None:
        found = self._client.get_channel(int(view.spec.channel or 0))
        return found if isinstance(found, _Channel) else None

    def _role(self, view: RunView) -> discord.Role | None:
        guild = self._client.get_guild(int(view.spec.guild))
        if guild is None or self._team_role is None:
            return None
        return discord.utils.get(guild.roles, name=self._team_role)

    def _record(self, guild: str, run: str) -> CardRecord | None:
        for folder in (_CARDS, _TOLD):
            try:
                return _decoded(self._store.read(_key(folder, guild, run)))
            except FileNotFoundError:
                continue
        return None

    def _untold(self) -> list[tuple[str, str]]:
        """Return (guild, run) of all runs whose end is not announced, with or without a card."""
        found = (marker.partition("~") for marker in self._store.names(store_keys.UNANNOUNCED))
        return [(guild, run) for guild, _, run in found]

    def _save(self, record: CardRecord) -> None:
        folder = _TOLD if record.is_told else _CARDS
        data = json.dumps(asdict(record)).encode()
        self._store.write(_key(folder, record.guild, record.run), data)
        if record.is_told:
            self._store.delete(_key(_CARDS, record.guild, record.run))
            self._store.delete(RunKeys(record.guild, record.run).unannounced)


def _key(folder: str, guild: str, run: str) -> str:
    return f"{folder}/{guild}~{run}.json"


def _decoded(data: bytes) -> CardRecord:
    return CardRecord(**json.loads(data))


def _nonce(view: RunView, what: str) -> str:
    """Return a nonce, so that Discord drops a message that is sent twice within minutes.

    A copy of the bot may be killed between sending a message and recording it.
    """
    about = f"{view.spec.guild}/{view.spec.name}/{what}"
    return hashlib.sha256(about.encode()).hexdigest()[:25]  # the longest that Discord takes
