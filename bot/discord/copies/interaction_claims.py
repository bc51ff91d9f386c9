"""Claims interactions before they are handled: Discord sends each to every copy of the bot."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import aiohttp
import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, answer_error
from bot.discord.copies.leader import Leader, Timing
from bot.service.threads import in_pool
from training.errors import RequestError, TrainingError
from training.ports import Claims

logger = logging.getLogger(__name__)
# A claim is a file or a network call; Discord waits 3 s for the whole answer.
_CLAIM_SECONDS = 1.5
_FAREWELL_SECONDS = 5.0
# A separate pool: claims must not queue behind commands that wait for a slow store.
_CLAIMS_AT_ONCE = 8


class InteractionClaims:
    """Decides which interactions this copy handles: those that it claims first."""

    def __init__(self, claims: Claims, duty: Leader, timing: Timing) -> None:
        self._claims, self._duty, self._timing = claims, duty, timing
        self._is_leaving = False
        self._threads = ThreadPoolExecutor(_CLAIMS_AT_ONCE, thread_name_prefix="claims")
        self._begun: dict[asyncio.Task[Any], Interaction] = {}

    async def is_ours(self, interaction: Interaction) -> bool:
        """Claim the interaction for the current task; return whether this copy handles it."""
        # Only the copy that opened a dialog can handle its submission.
        is_known_here_only = interaction.type is discord.InteractionType.modal_submit
        if not is_known_here_only and not self._duty.is_active and not self._is_leaving:
            await asyncio.sleep(self._timing.pause)
        if self._is_leaving and not is_known_here_only:
            return False
        self._note(interaction)
        try:
            async with asyncio.timeout(_CLAIM_SECONDS):
                return await in_pool(self._threads, self._claims.claim, str(interaction.id))
        except OSError:
            # Safe: Discord accepts one acknowledgement only, and every command starts with it.
            logger.warning("an interaction could not be claimed", exc_info=True)
            return self._duty.is_active or is_known_here_only

    @property
    def is_busy(self) -> bool:
        """Whether commands are running."""
        return bool(self._begun)

    def stop(self) -> None:
        """Start no more commands."""
        self._is_leaving = True

    async def finish(self) -> None:
        """Wait for running commands; cancel those that take too long and tell their users."""
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

    def _note(self, interaction: Interaction) -> None:
        # discord.py checks and handles an interaction in one task.
        task = asyncio.current_task()
        if task is None:
            raise ValueError("an interaction is handled outside a task")
        self._begun[task] = interaction
        task.add_done_callback(self._begun.pop)


class ClaimingClient(discord.Client):
    """A client whose commands, buttons and dialogs claim their interactions."""

    handling: InteractionClaims


class Claimed:
    """Mixin for everything that handles interactions; goes before the library's class."""

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        """Return whether this copy claimed the interaction; called by discord.py."""
        client = interaction.client
        if not isinstance(client, ClaimingClient):
            raise TypeError("what is claimed belongs to a ClaimingClient")
        return await client.handling.is_ours(interaction)


class ClaimedTree(Claimed, app_commands.CommandTree[discord.Client]):
    """Commands and autocompletion, claimed first."""


async def _tell(interaction: Interaction) -> None:
    """Tell the user that a command was cancelled."""
    if interaction.type is discord.InteractionType.autocomplete:
        return
    error = RequestError(
        "The bot restarted before this was finished.",
        "Check /runs or /dataset list, and repeat the command if it had no effect.",
    )
    try:
        await answer_error(interaction, error)
    except (discord.HTTPException, aiohttp.ClientError, OSError, TrainingError):
        logger.warning("a user could not be told that a command was cancelled", exc_info=True)
