"""Claims each interaction for one copy of the bot, because Discord sends it to all copies."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import aiohttp
import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, answer_error, arrived_at
from bot.discord.copies.interruptions import Begun, command_of
from bot.discord.copies.leader import Leader, Timing
from bot.messages.interrupted import interrupted
from bot.service.threads import in_pool
from training.errors import TrainingError
from training.ports import Claims

logger = logging.getLogger(__name__)
# Claiming writes a file or calls Modal. Limit the wait: Discord expects an answer within 3 s.
_CLAIM_SECONDS = 1.5
_NOTE_SECONDS = 0.4
_FAREWELL_SECONDS = 5.0
# Claims have their own threads, so that they do not wait behind commands that use a slow store.
_CLAIMS_AT_ONCE = 8


class InteractionClaims:
    """Claims interactions for this copy, which handles those that no other copy has claimed."""

    def __init__(self, claims: Claims, leader: Leader, timing: Timing, copy_name: str) -> None:
        self._claims, self._leader, self._timing = claims, leader, timing
        self._copy_name = copy_name
        self._is_leaving = False
        self._threads = ThreadPoolExecutor(_CLAIMS_AT_ONCE, thread_name_prefix="claims")
        self._begun: dict[asyncio.Task[Any], Interaction] = {}
        self._noting = set[asyncio.Task[None]]()

    async def is_ours(self, interaction: Interaction) -> bool:
        """Claim the interaction for the current task; return whether this copy handles it."""
        arrived_at(interaction)  # record the arrival time
        # Only the copy that opened a dialog can handle its submission.
        is_known_here_only = interaction.type is discord.InteractionType.modal_submit
        if not is_known_here_only and not self._leader.is_active and not self._is_leaving:
            await asyncio.sleep(self._timing.pause)
        if self._is_leaving and not is_known_here_only:
            return False
        self._note(interaction)
        try:
            async with asyncio.timeout(_CLAIM_SECONDS):
                is_ours = await in_pool(self._threads, self._claims.claim, str(interaction.id))
        except OSError:
            # Handling an unclaimed interaction is safe: every command first acknowledges it, and
            # Discord accepts only one acknowledgement.
            logger.warning("an interaction could not be claimed", exc_info=True)
            is_ours = self._leader.is_active or is_known_here_only
        if is_ours:
            await self._note_while_it_lasts(interaction)
        return is_ours

    @property
    def is_busy(self) -> bool:
        return bool(self._begun)

    def stop(self) -> None:
        self._is_leaving = True

    def close(self) -> None:
        """Shut down the threads; no interaction can be claimed afterwards."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def finish(self) -> None:
        """Wait for the commands in progress; cancel slow ones and notify their users."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.grace):
                while self._begun:
                    await asyncio.wait(self._begun)
        if cut_off := dict(self._begun):
            logger.warning("cancelled unfinished commands: %d", len(cut_off))
            for task in cut_off:
                task.cancel()
            farewells = [asyncio.create_task(_tell(one)) for one in cut_off.values()]
            await asyncio.wait([*cut_off, *farewells], timeout=_FAREWELL_SECONDS)
        if self._noting:
            await asyncio.wait(self._noting, timeout=_FAREWELL_SECONDS)

    async def _note_while_it_lasts(self, interaction: Interaction) -> None:
        """Store a note of the interaction until its task ends, because this copy may be killed.

        Wait until the note is stored, so that it exists before the user sees an acknowledgement.
        """
        work = asyncio.current_task()
        if work is None or interaction.type is discord.InteractionType.autocomplete:
            return
        is_noted = asyncio.Event()
        keeping = self._keep_note(interaction, work, is_noted)
        noting = asyncio.create_task(keeping, name="note of a command")
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)
        # Do not wait longer if the store is slow: Discord would give up on the command.
        with suppress(TimeoutError):
            async with asyncio.timeout(_NOTE_SECONDS):
                await is_noted.wait()

    async def _keep_note(
        self, interaction: Interaction, work: asyncio.Task[Any], is_noted: asyncio.Event
    ) -> None:
        name, data = str(interaction.id), Begun.of(interaction, self._copy_name)
        note, forget = self._claims.note, self._claims.forget
        try:
            await in_pool(self._threads, note, name, data.model_dump_json().encode())
            is_noted.set()
            await asyncio.wait({work})
            await in_pool(self._threads, forget, name)
        except OSError as error:
            is_noted.set()
            logger.warning("the note of an interaction could not be stored or deleted: %s", error)

    def _note(self, interaction: Interaction) -> None:
        # discord.py calls `interaction_check` and the handler in the same task.
        task = asyncio.current_task()
        if task is None:
            raise ValueError("an interaction is handled outside a task")
        self._begun[task] = interaction
        task.add_done_callback(self._begun.pop)


class ClaimingClient(discord.Client):
    """A client whose commands, buttons and dialogs claim their interactions."""

    claims: InteractionClaims


class Claimed:
    """Mixin for everything that handles interactions. Name it before discord.py's base class."""

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        """Return whether this copy claimed the interaction; called by discord.py."""
        client = interaction.client
        if not isinstance(client, ClaimingClient):
            raise TypeError("only interactions of a ClaimingClient can be claimed")
        return await client.claims.is_ours(interaction)


class ClaimedTree(Claimed, app_commands.CommandTree[discord.Client]):
    """The command tree, which claims each command and each autocompletion before handling it."""


async def _tell(interaction: Interaction) -> None:
    """Tell the user that a command was cancelled."""
    if interaction.type is discord.InteractionType.autocomplete:
        return
    try:
        await answer_error(interaction, interrupted(command_of(interaction)))
    except (discord.HTTPException, aiohttp.ClientError, OSError, TrainingError):
        logger.warning("a user could not be told that a command was cancelled", exc_info=True)
