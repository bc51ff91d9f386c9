"""The gateway: resume and replay, what intents show, and how it refuses."""

import asyncio
from typing import Any

import pytest
from sandbox_bot import TinyBot, running_bot
from sandbox_raw import RawBot, Watch

from bot.sandbox.client import SandboxUser
from bot.sandbox.gateway import IDENTIFIES_PER_DAY
from bot.sandbox.server import SandboxServer


async def no_wait(shard_id: int | None, *, initial: bool = False) -> None:
    """Replace the library's five seconds before a second IDENTIFY."""


async def test_a_dropped_socket_is_resumed_and_misses_nothing(
    bot: TinyBot, raw: RawBot, server: SandboxServer, ada: SandboxUser
) -> None:
    server.gateway.drop_sockets()
    await raw.call("POST", f"/channels/{raw.channel}/threads", {"name": "missed", "type": 11})

    async with asyncio.timeout(60):
        await bot.resumed.wait()
        assert await bot.threads_seen.get() == "missed"

    assert server.gateway.identifies_left == IDENTIFIES_PER_DAY - 1
    reply = await ada.reply(await ada.command("ping"))
    assert reply.content == "pong Ada"


async def test_an_invalidated_session_identifies_anew(
    bot: TinyBot, server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot, "before_identify_hook", no_wait)
    bot.is_up.clear()

    server.gateway.invalidate_sessions()

    async with asyncio.timeout(60):
        await bot.is_up.wait()
    assert server.gateway.identifies_left == IDENTIFIES_PER_DAY - 2


async def test_a_bot_that_is_asked_to_reconnect_resumes(
    bot: TinyBot, server: SandboxServer
) -> None:
    (session,) = server.gateway.sessions
    server.gateway.ask_to_reconnect()

    async with asyncio.timeout(60):
        await bot.resumed.wait()
    assert list(server.gateway.sessions) == [session]
    assert server.gateway.identifies_left == IDENTIFIES_PER_DAY - 1


async def test_what_others_write_stays_hidden_without_the_privileged_intent(
    bot: TinyBot, ada: SandboxUser, server: SandboxServer
) -> None:
    await ada.post("a secret")
    await ada.post(f"<@{server.world.bot['id']}> hello")

    async with asyncio.timeout(60):
        assert await bot.messages_seen.get() == ""
        assert (await bot.messages_seen.get()).endswith("hello")


async def test_messages_are_not_sent_to_who_did_not_ask_for_them(
    raw: RawBot, ada: SandboxUser
) -> None:
    async with raw.gateway() as socket:
        await socket.identify(intents=1)
        await ada.post("hello")
        await raw.call("POST", f"/channels/{raw.channel}/threads", {"name": "t", "type": 11})

        names: list[str] = []
        while "THREAD_CREATE" not in names:
            names.append((await socket.next(0))["t"])

    assert names == ["READY", "GUILD_CREATE", "GUILD_CREATE", "THREAD_CREATE"]


async def test_a_heartbeat_is_acknowledged(raw: RawBot) -> None:
    async with raw.gateway() as socket:
        assert (await socket.next())["d"]["heartbeat_interval"] == 41250

        await socket.socket.send_json({"op": 1, "d": None})

        assert (await socket.next())["op"] == 11


async def test_a_client_that_stops_its_heartbeat_is_dropped(
    raw: RawBot, server: SandboxServer
) -> None:
    server.gateway.heartbeat_seconds = 0.1
    async with raw.gateway() as socket:
        await socket.identify()

        assert await socket.close_code() == 4009


async def test_a_bot_whose_heartbeats_go_unanswered_connects_anew(server: SandboxServer) -> None:
    server.gateway.heartbeat_seconds = 0.2
    async with running_bot(server, TinyBot(heartbeat_timeout=0.5)) as bot:
        (session,) = server.gateway.sessions.values()
        silent = session.connection
        server.faults.fall_silent(is_on=True)

        async with asyncio.timeout(60):
            await bot.resumed.wait()
        server.faults.fall_silent(is_on=False)

        assert list(server.gateway.sessions.values()) == [session]
        assert session.connection not in (None, silent)
        assert server.gateway.identifies_left == IDENTIFIES_PER_DAY - 1


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"op": 99}, 4001),
        ([], 4002),
        ({"op": 2, "d": "x"}, 4002),
        ({"op": 3, "d": {}}, 4003),
        ({"op": 2, "d": {"token": "wrong", "intents": 1}}, 4004),
        ({"op": 2, "d": {"token": "TOKEN", "intents": 1, "shard": [1, 2]}}, 4010),
        ({"op": 2, "d": {"token": "TOKEN", "intents": "all"}}, 4013),
        ({"op": 2, "d": {"token": "TOKEN", "intents": 1 << 15}}, 4014),
    ],
)
async def test_a_wrong_payload_closes_with_its_code(raw: RawBot, payload: Any, code: int) -> None:
    if isinstance(payload, dict) and "TOKEN" in str(payload):  # pyright: ignore[reportUnknownArgumentType]
        payload["d"]["token"] = raw.server.bot_token
    async with raw.gateway() as socket:
        await socket.socket.send_json(payload)

        assert await socket.close_code() == code


async def test_identifying_twice_and_talking_too_much_close(raw: RawBot) -> None:
    async with raw.gateway() as socket:
        await socket.identify()
        await socket.identify()
        assert await socket.close_code() == 4005

    async with raw.gateway() as socket:
        for _ in range(121):
            await socket.socket.send_json({"op": 1, "d": None})
        assert await socket.close_code() == 4008


async def test_a_session_can_be_resumed_for_five_minutes_and_with_a_known_sequence(
    raw: RawBot, watch: Watch, server: SandboxServer
) -> None:
    async with raw.gateway() as socket:
        await socket.identify()
        session_id = (await socket.event("READY"))["d"]["session_id"]
        server.gateway.drop_sockets()

    async with raw.gateway() as socket:
        await socket.resume(session_id, 1)
        assert [(await socket.next(0))["t"] for _ in range(3)][-1] == "RESUMED"
        server.gateway.drop_sockets()
    async with raw.gateway() as socket:
        await socket.resume(session_id, 99)
        assert await socket.close_code() == 4007
    watch.ahead += 301
    async with raw.gateway() as socket:
        await socket.resume(session_id, 1)
        assert (await socket.next(9))["d"] is False


async def test_closing_normally_gives_the_session_up(raw: RawBot, server: SandboxServer) -> None:
    async with raw.gateway() as socket:
        await socket.identify()
        session_id = (await socket.event("READY"))["d"]["session_id"]
        await socket.socket.close(code=1000)

    async with raw.gateway() as socket:
        await socket.resume(session_id, 1)

        assert (await socket.next(9))["d"] is False


async def test_after_a_thousand_identifies_a_day_no_more_are_taken(
    raw: RawBot, watch: Watch, server: SandboxServer
) -> None:
    for _ in range(IDENTIFIES_PER_DAY):
        server.gateway.count_identify()
    async with raw.gateway() as socket:
        await socket.identify()
        assert await socket.close_code() == 4004

    watch.ahead += 24 * 60 * 60 + 1

    _, body = await raw.call("GET", "/gateway/bot")
    assert body["session_start_limit"]["remaining"] == IDENTIFIES_PER_DAY


async def test_after_an_hour_of_outage_the_bot_identifies_anew_and_answers(
    bot: TinyBot,
    server: SandboxServer,
    ada: SandboxUser,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bot, "before_identify_hook", no_wait)
    bot.is_up.clear()
    server.faults.outage(is_on=True)
    during = await ada.command("ping")

    watch.ahead += 60 * 60
    server.faults.outage(is_on=False)

    async with asyncio.timeout(60):
        await bot.is_up.wait()
    assert during.status == "failed"
    assert server.gateway.identifies_left == IDENTIFIES_PER_DAY - 2
    assert (await ada.reply(await ada.command("ping"))).content == "pong Ada"


async def test_an_outage_ends_with_a_resume(
    bot: TinyBot, server: SandboxServer, raw: RawBot
) -> None:
    server.faults.outage(is_on=True)
    status, _ = await raw.call("GET", "/users/@me")

    server.faults.outage(is_on=False)

    assert status == 503
    async with asyncio.timeout(60):
        await bot.resumed.wait()
