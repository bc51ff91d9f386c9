"""A bot or a person without a permission is refused with the API's own code."""

from typing import Any

import pytest
from sandbox_raw import RawBot

from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer
from bot.sandbox.world import permissions
from training.errors import RequestError


def deny(server: SandboxServer, channel_id: str, bit: int) -> None:
    channel = server.world.channels[channel_id]
    everyone = channel["guild_id"]
    channel["permission_overwrites"] = [{"id": everyone, "type": 0, "allow": "0", "deny": str(bit)}]


MESSAGES = "/channels/{channel}/messages"


@pytest.mark.parametrize(
    ("bit", "method", "template", "body"),
    [
        (permissions.SEND_MESSAGES, "POST", MESSAGES, {"content": "x"}),
        (permissions.EMBED_LINKS, "POST", MESSAGES, {"embeds": [{"title": "x"}]}),
        (
            permissions.CREATE_PUBLIC_THREADS,
            "POST",
            MESSAGES + "/{message}/threads",
            {"name": "talk"},
        ),
        (
            permissions.CREATE_PRIVATE_THREADS,
            "POST",
            "/channels/{channel}/threads",
            {"name": "talk", "type": 12},
        ),
        (permissions.PIN_MESSAGES, "PUT", MESSAGES + "/pins/{message}", None),
        (permissions.READ_HISTORY, "GET", MESSAGES + "/{message}", None),
    ],
)
async def test_what_a_channel_denies_is_forbidden(
    raw: RawBot, server: SandboxServer, bit: int, method: str, template: str, body: Any
) -> None:
    _, message = await raw.send(content="card")
    path = template.format(channel=raw.channel, message=message["id"])
    deny(server, raw.channel, bit)

    status, answer = await raw.call(method, path, body)

    assert (status, answer["code"]) == (403, 50013)
    server.world.channels[raw.channel]["permission_overwrites"] = []
    assert (await raw.call(method, path, body))[0] < 300


async def test_files_and_threads_need_permissions_of_their_own(
    raw: RawBot, server: SandboxServer
) -> None:
    _, message = await raw.send(content="card")
    opening = f"/channels/{raw.channel}/messages/{message['id']}/threads"
    _, thread = await raw.call("POST", opening, {"name": "talk"})
    inside = f"/channels/{thread['id']}/messages"

    deny(server, raw.channel, permissions.ATTACH_FILES)
    assert (await raw.upload("a.txt", b"a", content="x"))[1]["code"] == 50013
    deny(server, raw.channel, permissions.SEND_IN_THREADS)
    assert (await raw.call("POST", inside, {"content": "x"}))[1]["code"] == 50013
    deny(server, raw.channel, permissions.VIEW_CHANNEL)
    assert (await raw.call("POST", inside, {"content": "x"}))[1]["code"] == 50001


async def test_without_history_a_channel_looks_empty(raw: RawBot, server: SandboxServer) -> None:
    await raw.send(content="card")

    deny(server, raw.channel, permissions.READ_HISTORY)

    assert await raw.call("GET", f"/channels/{raw.channel}/messages") == (200, [])


async def test_a_channel_has_room_for_250_pins(raw: RawBot, server: SandboxServer) -> None:
    _, message = await raw.send(content="card")
    pins = server.world.channels[raw.channel]["pins"]
    pins |= {str(number): server.world.now() for number in range(250)}

    status, answer = await raw.call("PUT", f"/channels/{raw.channel}/pins/{message['id']}")

    assert (status, answer["code"]) == (400, 30003)


async def test_anothers_thread_is_changed_only_by_who_manages_threads(
    raw: RawBot, ada: SandboxUser, server: SandboxServer
) -> None:
    thread = await ada.open_thread(await ada.post("hello"), "mine")
    path = f"/channels/{thread}"

    assert (await raw.call("PATCH", path, {"name": "ours"}))[1]["code"] == 50013
    assert (await raw.call("DELETE", path))[1]["code"] == 50013

    bot_role = next(r for r in server.world.guilds[raw.guild]["roles"] if r["managed"])
    bot_role["permissions"] = str(int(bot_role["permissions"]) | permissions.MANAGE_THREADS)
    assert (await raw.call("PATCH", path, {"archived": True}))[0] == 200
    assert (await raw.call("PATCH", path, {"name": "late"}))[1]["code"] == 50083


async def test_a_person_may_do_only_what_the_channel_allows(
    ada: SandboxUser, ben: SandboxUser, raw: RawBot, server: SandboxServer
) -> None:
    message = await ada.post("hello")

    deny(server, raw.channel, permissions.CREATE_PUBLIC_THREADS | permissions.SEND_MESSAGES)

    with pytest.raises(RequestError, match="50013"):
        await ben.open_thread(message, "talk")
    with pytest.raises(RequestError, match="50013"):
        await ben.post("hello")
