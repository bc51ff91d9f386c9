"""Notices of the bot: each is posted once, in the channel of the guild's newest run."""

import asyncio
from datetime import UTC, datetime

import pytest

from bot.discord.cards.notices import NoticeTeller
from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from bot.sandbox.server import SandboxServer
from tests.wire.bot.chat import Chat
from training import store_keys
from training.operations.clean_up import CleanUpNotice


def leave_notice(local: LocalInstallation, guild: str, channel: str) -> None:
    notice = CleanUpNotice(
        guild=guild,
        channel=channel,
        at=datetime(2026, 3, 1, tzinfo=UTC),
        cache_files=2,
        cache_bytes=3_000_000,
        shared_bytes=0,
    )
    local.runtime.store.write(store_keys.notice(f"of-{channel}"), notice.model_dump_json().encode())


def channel_of(server: SandboxServer, guild_name: str) -> tuple[str, str]:
    """Return the ids of a server and of the channel in it that people train in."""
    world = server.world
    guild = next(its["id"] for its in world.guilds.values() if its["name"] == guild_name)
    channel = next(its for its in world.channels_of(guild) if its["name"] == "training")
    return guild, channel["id"]


@pytest.fixture
def teller(bot: RunningBot, local: LocalInstallation) -> NoticeTeller:
    return NoticeTeller(bot.client, local.runtime.store)


async def test_a_notice_is_posted_once_and_only_in_its_channel(
    teller: NoticeTeller,
    server: SandboxServer,
    local: LocalInstallation,
    ada: Chat,
    cleo_elsewhere: Chat,
) -> None:
    guild, channel = channel_of(server, "Studio A")
    await asyncio.to_thread(leave_notice, local, guild, channel)

    await teller.tell()
    await teller.tell()

    (told,) = await ada.user.messages()
    assert told.channel_id == channel
    assert "2 cache files of this server, 2.9 MiB, unused for 30 days" in told.text
    assert await cleo_elsewhere.user.messages() == []
    assert local.runtime.store.names(store_keys.NOTICES) == []


async def test_a_notice_whose_channel_is_gone_is_dropped_and_the_next_one_posted(
    teller: NoticeTeller,
    server: SandboxServer,
    local: LocalInstallation,
    ada: Chat,
    caplog: pytest.LogCaptureFixture,
) -> None:
    guild, channel = channel_of(server, "Studio A")
    await asyncio.to_thread(leave_notice, local, guild, "1")
    await asyncio.to_thread(leave_notice, local, guild, channel)

    await teller.tell()

    assert len(await ada.user.messages()) == 1
    assert local.runtime.store.names(store_keys.NOTICES) == []
    assert "could not be posted in 1: 404 Not Found" in caplog.text
