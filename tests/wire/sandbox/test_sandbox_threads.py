"""Threads that people open, and what becomes of channels and threads that are deleted."""

import asyncio

import discord
import pytest
from sandbox_bot import TinyBot
from sandbox_raw import RawBot

from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer
from training.errors import NotFoundError, RequestError


async def test_a_person_opens_a_thread_and_the_bot_answers_in_it(
    bot: TinyBot, ada: SandboxUser, ben: SandboxUser
) -> None:
    message = await ada.post("my clips")

    thread = await ada.open_thread(message, "About my clips")

    async with asyncio.timeout(60):
        assert await bot.threads_seen.get() == "About my clips"
    await ben.post("nice", channel=thread)
    answer = await ada.reply(await ada.command("ping", channel=thread))
    assert (answer.content, answer.channel_id) == ("pong Ada", thread)
    assert [m.content for m in await ben.messages(thread="About my clips")] == ["nice", "pong Ada"]
    assert [m.content for m in await ada.messages()] == ["my clips"]


async def test_a_message_takes_one_thread_and_an_ephemeral_one_none(
    bot: TinyBot, ada: SandboxUser
) -> None:
    message = await ada.post("hello")
    whisper = await ada.reply(await ada.command("whisper"))
    await ada.open_thread(message, "first")

    with pytest.raises(RequestError, match="160004"):
        await ada.open_thread(message, "second")
    with pytest.raises(RequestError, match="Only you can see"):
        await ada.open_thread(whisper, "secret")
    with pytest.raises(RequestError, match="Invalid Form Body"):
        await ada.open_thread(await ada.post("other"), "x" * 101)


async def test_writing_wakes_an_archived_thread_but_not_a_locked_one(
    bot: TinyBot, ada: SandboxUser, ben: SandboxUser, raw: RawBot, server: SandboxServer
) -> None:
    channel = bot.get_channel(int(raw.channel))
    assert isinstance(channel, discord.TextChannel)
    thread = await channel.create_thread(name="talk", type=discord.ChannelType.public_thread)
    await thread.edit(archived=True)

    await ada.post("still there?", channel=str(thread.id))

    assert server.world.channels[str(thread.id)]["archived"] is False
    await thread.edit(archived=True, locked=True)
    with pytest.raises(RequestError, match="archived"):
        await ben.post("hello?", channel=str(thread.id))
    with pytest.raises(discord.HTTPException) as caught:
        await thread.send("hello?")
    assert caught.value.code == 50083
    await ada.post("I own this server", channel=str(thread.id))


async def test_a_deleted_channel_takes_its_threads_along(
    bot: TinyBot, ada: SandboxUser, raw: RawBot, server: SandboxServer
) -> None:
    thread = await ada.open_thread(await ada.post("hello"), "talk")
    async with asyncio.timeout(60):
        await bot.threads_seen.get()
    gone = bot.get_channel(int(thread))
    assert isinstance(gone, discord.Thread)

    server.faults.delete_channel(raw.channel)

    with pytest.raises(discord.NotFound) as caught:
        await gone.send("hello?")
    assert caught.value.code == 10003
    with pytest.raises(NotFoundError, match="no channel"):
        await ada.post("hello?", channel=raw.channel)
