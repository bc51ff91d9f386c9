"""Buckets, the global limit, and edits of messages older than an hour."""

import asyncio

from sandbox_bot import TinyBot
from sandbox_raw import RawBot, Watch

from bot.sandbox.server import SandboxServer


async def test_the_sixth_message_in_five_seconds_is_limited(raw: RawBot, watch: Watch) -> None:
    frozen = watch()
    raw.server.limits.clock = lambda: frozen + watch.ahead
    for left in (4, 3, 2, 1, 0):
        assert (await raw.send(content="x"))[0] == 200
        assert raw.headers["X-RateLimit-Remaining"] == str(left)

    status, answer = await raw.send(content="x")

    assert (status, answer["global"], answer["retry_after"]) == (429, False, 5.0)
    assert raw.headers["Via"]
    assert raw.headers["X-RateLimit-Bucket"]
    watch.ahead += 5.1
    assert (await raw.send(content="x"))[0] == 200


async def test_another_channel_has_its_own_bucket(raw: RawBot, server: SandboxServer) -> None:
    other = next(c["id"] for c in server.world.channels.values() if c["id"] != raw.channel)
    statuses = [(await raw.send(content="x"))[0] for _ in range(6)]

    raw.channel = other

    assert statuses[-1] == 429
    assert (await raw.send(content="x"))[0] == 200


async def test_more_than_fifty_requests_a_second_are_limited_globally(
    raw: RawBot, watch: Watch
) -> None:
    frozen = watch()
    raw.server.limits.clock = lambda: frozen
    for path in ("/users/@me", "/gateway/bot"):
        for _ in range(25):
            assert (await raw.call("GET", path))[0] == 200

    status, answer = await raw.call("GET", "/users/@me")

    assert (status, answer["global"]) == (429, True)


async def test_old_messages_take_three_edits_in_six_seconds(raw: RawBot, watch: Watch) -> None:
    _, message = await raw.send(content="card")
    path = f"/channels/{raw.channel}/messages/{message['id']}"
    watch.ahead += 60 * 60 + 1
    for step in range(3):
        assert (await raw.call("PATCH", path, {"content": f"{step}"}))[0] == 200

    status, answer = await raw.call("PATCH", path, {"content": "4"})

    assert (status, answer["code"]) == (429, 30046)
    watch.ahead += 6.1
    assert (await raw.call("PATCH", path, {"content": "4"}))[0] == 200


async def test_the_library_waits_and_tries_again_after_a_fault(
    bot: TinyBot, server: SandboxServer
) -> None:
    server.faults.fail_next(1, 500)

    user = await bot.fetch_user(server.world.bot["id"])

    assert user.name == "LoRA Bot"


async def test_a_slow_sandbox_answers_later(raw: RawBot, server: SandboxServer) -> None:
    server.faults.delay_seconds = 0.1
    started = asyncio.get_running_loop().time()

    status, _ = await raw.call("GET", "/users/@me")

    assert status == 200
    assert asyncio.get_running_loop().time() - started >= 0.1
