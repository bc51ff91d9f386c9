"""Messages of the bot with buttons that a test chooses, as if somebody had copied them."""

from typing import Any

import discord

from bot.hosting.bot import RunningBot
from bot.sandbox.client import Message
from tests.wire.bot.chat import Chat


async def forged(bot: RunningBot, chat: Chat, *items: discord.ui.Item[Any]) -> Message:
    """Return a message of the bot with these buttons, which everybody in the channel sees."""
    posted = await chat.user.post("here")
    channel = bot.client.get_channel(int(posted.channel_id))
    assert isinstance(channel, discord.TextChannel)
    view = discord.ui.View(timeout=None)
    for item in items:
        view.add_item(item)
    sent = await channel.send("forged", view=view)
    view.stop()
    return await chat.user.wait_for(lambda m: m.id == str(sent.id))
