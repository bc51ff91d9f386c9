"""Registers the commands with Discord when they have changed."""

import asyncio
import hashlib
import json
from contextlib import suppress

import aiohttp
import discord
from discord import app_commands

from bot.discord.cards.pauses import Pauses
from bot.service.threads import in_thread
from training.ports import Store

_KEY = "bot/commands-sent"


class CommandRegistration:
    """Registers a command tree's commands only if they changed, because of Discord's daily limit.

    Attributes:
        has_tried: Set after the first attempt, whether or not it succeeded.
    """

    def __init__(self, tree: app_commands.CommandTree, store: Store) -> None:
        self._tree, self._store = tree, store
        self.has_tried = asyncio.Event()

    async def keep(self) -> None:
        """Register the commands, and try again until Discord accepts them."""
        pauses, what = Pauses(), "registering the commands"
        while True:
            try:
                await self._register()
            except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
                pauses.begin(_KEY, what, error)
            else:
                pauses.end(_KEY, what)
                return
            finally:
                self.has_tried.set()
            await asyncio.sleep(pauses.left(_KEY))

    async def _register(self) -> None:
        digest = self._digest()
        with suppress(FileNotFoundError):
            if await in_thread(self._store.read, _KEY) == digest:
                return
        await self._tree.sync()
        await in_thread(self._store.write, _KEY, digest)

    def _digest(self) -> bytes:
        payload = [command.to_dict(self._tree) for command in self._tree.get_commands()]
        text = json.dumps(
            [str(self._tree.client.application_id), payload], sort_keys=True, default=str
        )
        return hashlib.sha256(text.encode()).hexdigest().encode()
