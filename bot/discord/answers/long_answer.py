"""Slow answers, which show progress and arrive even after the interaction's token has expired."""

import asyncio
import logging
from contextlib import suppress
from types import TracebackType
from typing import Self

import aiohttp
import discord

from bot.discord.answers.answers import Interaction, channel_of, is_expired, to_embed
from bot.messages.card import Card
from bot.messages.datasets.cards import PROGRESS, progress_text
from bot.messages.markdown import ELLIPSIS

logger = logging.getLogger(__name__)


class LongAnswer:
    """A deferred answer, which shows progress until the card is ready."""

    def __init__(
        self, interaction: Interaction, progress_seconds: float = 5.0, text: str = PROGRESS
    ) -> None:
        self._interaction = interaction
        self._seconds, self._text = progress_seconds, text
        self._progress = (0, 0)
        self._is_shown = False
        self._is_done = asyncio.Event()
        self._showing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._showing = asyncio.create_task(self._show(), name="progress")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()
        if error is not None and self._is_shown and not is_expired(self._interaction):
            # Remove the progress, because the error is shown in a separate message.
            with suppress(discord.HTTPException):
                await self._interaction.delete_original_response()

    async def begin(self) -> None:
        """Replace the message of a pressed button, so that nobody presses it twice."""
        text = f"{self._text}{ELLIPSIS}"
        await self._interaction.edit_original_response(content=text, embed=None, view=None)
        self._is_shown = True

    def on_progress(self, done: int, total: int) -> None:
        """Record progress; may be called from any thread."""
        self._progress = (done, total)

    async def send(self, card: Card, files: list[discord.File], view: discord.ui.View) -> None:
        """Send the answer; once the token has expired, send it as an ordinary channel message."""
        await self._stop()
        embed = to_embed(card)
        if is_expired(self._interaction):
            channel = channel_of(self._interaction)
            await channel.send(embed=embed, files=files, view=view, silent=True)
            return
        await self._interaction.edit_original_response(
            content=None, embed=embed, attachments=files, view=view
        )

    async def _show(self) -> None:
        shown = (0, 0)
        while not is_expired(self._interaction):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_done.wait(), self._seconds)
                return
            if self._progress == shown:
                continue
            shown = self._progress
            try:
                await self._interaction.edit_original_response(
                    content=progress_text(self._text, *shown)
                )
            except (discord.HTTPException, aiohttp.ClientError, OSError):
                logger.warning("progress could not be shown", exc_info=True)
                return
            self._is_shown = True

    async def _stop(self) -> None:
        """Stop showing progress, and wait for a running edit: it could overwrite the answer."""
        self._is_done.set()
        if self._showing is not None:
            await self._showing
            self._showing = None
