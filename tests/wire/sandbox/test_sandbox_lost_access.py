"""What a bot loses on Discord: open threads, servers, channels in its cache, its turn to write."""

import asyncio
from typing import Any

import discord
import pytest
from sandbox_bot import TinyBot, running_bot
from sandbox_raw import RawBot, Watch

from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer
from bot.sandbox.wire import ApiError
from bot.sandbox.world import permissions

COMMANDS = "PUT /applications/{application_id}/commands"


class Noting(TinyBot):
    """Notes the servers that it joins or that become available."""

    def __init__(self) -> None:
        super().__init__()
        self.guilds_seen: asyncio.Queue[int] = asyncio.Queue()

    async def on_guild_join(self, guild: discord.Guild) -> None:
        self.guilds_seen.put_nowait(guild.id)

    on_guild_available = on_guild_join


async def thread_of(raw: RawBot, ada: SandboxUser) -> tuple[str, str]:
    """Return a thread that Ada opened, and the path of a message of the bot in it."""
    thread = await ada.open_thread(await ada.post("my clips"), "clips")
    raw.channel = thread
    _, message = await raw.send(content="card")
    return thread, f"/channels/{thread}/messages/{message['id']}"


@pytest.mark.parametrize("is_locked", [False, True])
async def test_messages_of_an_archived_thread_cannot_be_changed(
    raw: RawBot, ada: SandboxUser, server: SandboxServer, *, is_locked: bool
) -> None:
    thread, path = await thread_of(raw, ada)
    pin = path.replace("/messages/", "/messages/pins/")
    server.faults.archive_thread(thread, is_locked=is_locked)

    answers: list[tuple[int, Any]] = [
        await raw.call("PATCH", path, {"content": "x"}),
        await raw.call("PUT", pin),
        await raw.call("DELETE", path),
    ]

    assert [(status, answer["code"]) for status, answer in answers] == [(400, 50083)] * 3


async def test_whoever_may_write_reopens_a_thread_unless_it_is_locked(
    raw: RawBot, ada: SandboxUser, server: SandboxServer
) -> None:
    thread, path = await thread_of(raw, ada)
    server.faults.archive_thread(thread)

    assert (await raw.call("PATCH", f"/channels/{thread}", {"archived": False}))[0] == 200
    assert (await raw.call("PATCH", path, {"content": "x"}))[0] == 200
    server.faults.archive_thread(thread, is_locked=True)
    refused = await raw.call("PATCH", f"/channels/{thread}", {"archived": False})

    assert (refused[0], refused[1]["code"]) == (403, 50013)


async def test_in_a_locked_thread_that_is_open_nothing_is_written(
    raw: RawBot, ada: SandboxUser, server: SandboxServer
) -> None:
    thread, path = await thread_of(raw, ada)
    server.world.channels[thread]["locked"] = True

    sent, edited = await raw.send(content="x"), await raw.call("PATCH", path, {"content": "x"})

    assert [answer["code"] for _, answer in (sent, edited)] == [50083, 50083]


async def test_a_server_may_come_late_or_never(server: SandboxServer, ada: SandboxUser) -> None:
    late, never = server.world.guilds
    for guild in (late, never):
        server.faults.withhold_guild(guild)
    bot = Noting()
    async with running_bot(server, bot):
        assert [guild.unavailable for guild in bot.guilds] == [True, True]

        server.faults.deliver_guild(late)

        async with asyncio.timeout(60):
            assert await bot.guilds_seen.get() == int(late)
        known = {str(guild.id) for guild in bot.guilds if not guild.unavailable}
        assert known == {late}
        reply = await ada.reply(await ada.command("ping"))
        assert reply.content == "pong Ada"


async def test_a_bot_that_was_removed_has_no_access_until_it_joins_again(
    server: SandboxServer, raw: RawBot
) -> None:
    bot = Noting()
    async with running_bot(server, bot):
        for _ in server.world.guilds:
            await bot.guilds_seen.get()

        server.faults.remove_bot(raw.guild)
        sent, shown = await raw.send(content="x"), await raw.call("GET", f"/guilds/{raw.guild}")
        server.faults.add_bot(raw.guild)

        assert (sent[0], sent[1]["code"]) == (403, 50001)
        assert (shown[0], shown[1]["code"]) == (404, 10004)
        async with asyncio.timeout(60):
            assert await bot.guilds_seen.get() == int(raw.guild)
        assert (await raw.send(content="x"))[0] == 200


async def test_a_channel_may_be_absent_from_the_cache(server: SandboxServer, raw: RawBot) -> None:
    server.faults.unlist_channel(raw.channel)
    async with running_bot(server) as bot:
        assert bot.get_channel(int(raw.channel)) is None

        found = await bot.fetch_channel(int(raw.channel))

        assert isinstance(found, discord.TextChannel)


async def test_one_channel_asks_to_wait_and_no_other_does(
    raw: RawBot, server: SandboxServer, watch: Watch
) -> None:
    first = raw.channel
    server.faults.limit_channel(first, seconds=15.0, requests=1)

    status, answer = await raw.send(content="x")
    raw.channel = next(c["id"] for c in server.world.channels.values() if c["id"] != first)
    elsewhere, _ = await raw.send(content="x")
    raw.channel = first

    assert (status, answer["retry_after"], elsewhere) == (429, 15.0, 200)
    assert (await raw.send(content="x"))[0] == 200


async def test_commands_may_be_refused(bot: TinyBot, server: SandboxServer) -> None:
    error = ApiError(400, 30034, "Max number of daily application command creates")
    server.faults.refusals[COMMANDS] = error

    with pytest.raises(discord.HTTPException) as caught:
        await bot.tree.sync()

    assert caught.value.code == 30034
    server.faults.refusals.clear()
    assert await bot.tree.sync()


async def test_lost_permissions_are_announced_when_they_come_back(
    bot: TinyBot, raw: RawBot, server: SandboxServer
) -> None:
    server.faults.deny(raw.channel, permissions.SEND_MESSAGES)
    status, answer = await raw.send(content="x")

    server.faults.deny(raw.channel)
    updated = await bot.wait_for("guild_channel_update", timeout=60)

    assert (status, answer["code"]) == (403, 50013)
    assert str(updated[1].id) == raw.channel
