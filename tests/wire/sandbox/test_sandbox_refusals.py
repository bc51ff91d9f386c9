"""Each limit shown to bite by a deliberately wrong client."""

import io
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from sandbox_raw import RawBot, Watch

from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer

ROW = {"type": 1, "components": [{"type": 2, "style": 1, "label": "a", "custom_id": "a"}]}


def row(*buttons: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": 1, "components": [{"type": 2, "style": 1, **button} for button in buttons]}


def embed(**fields: Any) -> dict[str, Any]:
    return {"embeds": [fields]}


def error_paths(errors: Mapping[str, Any], path: str = "") -> list[str]:
    found = [path] if "_errors" in errors else []
    for key, value in errors.items():
        if key != "_errors":
            found += error_paths(value, f"{path}.{key}".strip("."))
    return found


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"content": "x" * 2001}, "content"),
        (embed(title="x" * 257), "embeds.0.title"),
        (embed(description="x" * 4097), "embeds.0.description"),
        (embed(description="x" * 4000, footer={"text": "x" * 2001}), "embeds"),
        (embed(fields=[{"name": "n", "value": "v"}] * 26), "embeds.0.fields"),
        (embed(fields=[{"name": "x" * 257, "value": "v"}]), "embeds.0.fields.0.name"),
        (embed(fields=[{"name": "n", "value": "x" * 1025}]), "embeds.0.fields.0.value"),
        (embed(fields=[{"name": " ", "value": "v"}]), "embeds.0.fields.0.name"),
        (embed(title="t", image={"url": "file:///etc/passwd"}), "embeds.0.image.url"),
        (embed(title="t", color=0x1000000), "embeds.0.color"),
        ({"embeds": [{"title": "t"}] * 11}, "embeds"),
        ({"components": [ROW] * 6}, "components"),
        ({"components": [row(*[{"label": "a", "custom_id": str(n)} for n in range(6)])]},
         "components.0.components"),
        ({"components": [row({"label": "a", "custom_id": "x" * 101})]},
         "components.0.components.0.custom_id"),
        ({"components": [row({"label": "x" * 81, "custom_id": "a"})]},
         "components.0.components.0.label"),
        ({"components": [row({"label": "a", "custom_id": "a"}, {"label": "b", "custom_id": "a"})]},
         "components.0.components.1.custom_id"),
        ({"components": [row({"label": "a"})]}, "components.0.components.0"),
        ({"components": [row({"custom_id": "a"})]}, "components.0.components.0"),
        ({"components": [row({"style": 5, "label": "a", "custom_id": "a"})]},
         "components.0.components.0"),
        ({"components": [{"type": 10, "content": "text"}]}, "components.0.type"),
        ({"content": "x", "components": [{"type": 10, "content": "text"}], "flags": 1 << 15},
         "flags"),
        ({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
         "allowed_mentions"),
        ({"content": "x", "allowed_mentions": {"parse": ["all"]}}, "allowed_mentions.parse.0"),
        ({"content": "x", "attachments": [{"id": 3, "filename": "a"}]}, "attachments.0.id"),
        ({"components": [{"type": 17, "components": [{"type": 10, "content": "a"}] * 10}] * 4,
          "flags": 1 << 15}, "components"),
        ({"components": [{"type": 10, "content": "a" * 2001}] * 2, "flags": 1 << 15}, "components"),
        ({"content": 5}, "content"),
        ({"content": "x", "poll": {"question": {"text": "?"}, "answers": [
            {"poll_media": {"text": "a"}}]}}, "poll"),
    ],
)  # fmt: skip
async def test_a_message_over_a_limit_is_refused_with_its_field(
    raw: RawBot, body: dict[str, Any], path: str
) -> None:
    status, answer = await raw.send(**body)

    assert (status, answer["code"], answer["message"]) == (400, 50035, "Invalid Form Body")
    assert error_paths(answer["errors"]) == [path]


async def test_a_select_is_checked(raw: RawBot) -> None:
    option = {"label": "a", "value": "a"}
    select = {"type": 3, "custom_id": "s"}
    wrong = [
        {**select, "options": [option] * 26},
        {**select, "options": [option, option]},
        {**select, "options": [option], "min_values": 2, "max_values": 1},
        {**select, "options": [option], "max_values": 2},
    ]

    for one in wrong:
        status, answer = await raw.send(components=[{"type": 1, "components": [one]}])
        assert (status, answer["code"]) == (400, 50035)


async def test_an_empty_message_is_refused(raw: RawBot) -> None:
    assert (await raw.send())[1]["code"] == 50006
    assert (await raw.send(content="  "))[1]["code"] == 50006


async def test_a_file_over_ten_mebibytes_is_refused_before_anything_is_stored(raw: RawBot) -> None:
    status, answer = await raw.upload("big.bin", bytes(10 * 1024 * 1024 + 1), content="x")

    assert (status, answer["code"]) == (413, 40005)
    assert (await raw.call("GET", f"/channels/{raw.channel}/messages"))[1] == []


async def test_a_request_over_25_mebibytes_or_ten_files_is_refused(raw: RawBot) -> None:
    nine = 9 * 1024 * 1024
    path = f"/channels/{raw.channel}/messages"

    def files(count: int, size: int) -> aiohttp.FormData:
        form = aiohttp.FormData(quote_fields=False)
        for number in range(count):
            form.add_field(f"files[{number}]", io.BytesIO(bytes(size)), filename=f"{number}.bin")
        return form

    status, answer = await raw.call("POST", path, files(3, nine))
    assert (status, answer["code"]) == (413, 40005)
    status, answer = await raw.call("POST", path, files(11, 1))
    assert (status, answer["code"]) == (400, 50035)
    assert (await raw.call("POST", path, files(10, 1)))[0] == 200


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": "Train"}, "0.name"),
        ({"name": "train model"}, "0.name"),
        ({"name": "x" * 33}, "0.name"),
        ({"description": ""}, "0.description"),
        ({"description": "x" * 101}, "0.description"),
        ({"options": [{"type": 3, "name": "a", "description": "d"}] * 26}, "0.options"),
        ({"options": [{"type": 3, "name": "a", "description": "d"}] * 2}, "0.options.1"),
        ({"options": [{"type": 3, "name": "A!", "description": "d"}]}, "0.options.0.name"),
        ({"options": [{"type": 3, "name": "a", "description": "d"},
                      {"type": 3, "name": "b", "description": "d", "required": True}]},
         "0.options.1"),
        ({"options": [{"type": 3, "name": "a", "description": "d",
                       "choices": [{"name": str(n), "value": str(n)} for n in range(26)]}]},
         "0.options.0.choices"),
        ({"options": [{"type": 3, "name": "a", "description": "d", "autocomplete": True,
                       "choices": [{"name": "n", "value": "v"}]}]}, "0.options.0"),
        ({"options": [{"type": 3, "name": f"o{n}", "description": "d", "choices": [
            {"name": f"{k}" + "n" * 90, "value": f"{k}" + "v" * 90} for k in range(25)
        ]} for n in range(3)]}, "0"),
        ({"type": 3, "description": "d"}, "0"),
    ],
)  # fmt: skip
async def test_a_command_over_a_limit_is_refused_with_its_field(
    raw: RawBot, change: dict[str, Any], path: str
) -> None:
    status, answer = await raw.register({"name": "train", "description": "Train", **change})

    assert (status, answer["code"]) == (400, 50035)
    assert error_paths(answer["errors"]) == [path]
    assert (await raw.register())[1] == []


async def test_commands_have_a_number_and_a_day_has_two_hundred_creates(raw: RawBot) -> None:
    many = [{"name": f"c{n}", "description": "d"} for n in range(101)]
    other = [{"name": f"d{n}", "description": "d"} for n in range(100)]

    assert (await raw.register(*many))[1]["code"] == 30032
    assert (await raw.register(*many[:2], many[0]))[1]["code"] == 50035
    assert (await raw.register(*many[:100]))[0] == 200
    assert (await raw.register(*many[:100]))[0] == 200  # nothing new is created
    assert (await raw.register(*other))[0] == 200
    assert (await raw.register(*many[:1]))[1]["code"] == 30034


async def test_unknown_things_have_their_own_codes(raw: RawBot) -> None:
    codes = {
        f"/channels/{raw.channel}/messages/1": 10008,
        "/channels/1": 10003,
        "/guilds/1": 10004,
        f"/guilds/{raw.guild}/members/1": 10007,
        "/users/1": 10013,
        f"/applications/{raw.server.world.application_id}/commands/1": 10063,
    }

    for path, code in codes.items():
        status, answer = await raw.call("GET", path)
        assert (status, answer["code"]) == (404, code)
    assert (await raw.call("GET", "/voice/regions"))[0] == 404


async def test_what_the_bot_may_not_do_is_forbidden(
    raw: RawBot, ada: SandboxUser, server: SandboxServer
) -> None:
    theirs = await ada.post("mine")
    path = f"/channels/{raw.channel}/messages/{theirs.id}"
    channel = server.world.channels[raw.channel]

    assert (await raw.call("PATCH", path, {"content": "x"}))[1]["code"] == 50005
    assert (await raw.call("DELETE", path))[1]["code"] == 50013
    channel["permission_overwrites"] = [
        {"id": raw.guild, "type": 0, "allow": "0", "deny": str(1 << 11)}
    ]
    assert (await raw.send(content="x"))[1]["code"] == 50013
    channel["permission_overwrites"][0]["deny"] = str(1 << 10)
    assert (await raw.send(content="x"))[1]["code"] == 50001


async def test_a_person_who_takes_no_direct_messages_gets_none(
    raw: RawBot, server: SandboxServer
) -> None:
    ben = next(user for user in server.world.users.values() if user["global_name"] == "Ben")
    _, channel = await raw.call("POST", "/users/@me/channels", {"recipient_id": ben["id"]})
    path = f"/channels/{channel['id']}/messages"

    assert (await raw.call("POST", path, {"content": "hi"}))[0] == 200
    ben["dms_open"] = False
    assert (await raw.call("POST", path, {"content": "hi"}))[1]["code"] == 50007


async def test_threads_have_names_of_a_hundred_and_one_per_message(raw: RawBot) -> None:
    _, message = await raw.send(content="card")
    path = f"/channels/{raw.channel}/messages/{message['id']}/threads"

    assert (await raw.call("POST", path, {"name": "x" * 101}))[1]["code"] == 50035
    assert (await raw.call("POST", path, {"name": "x", "auto_archive_duration": 7}))[0] == 400
    status, thread = await raw.call("POST", path, {"name": "x" * 100})
    assert (status, thread["id"]) == (201, message["id"])
    assert (await raw.call("POST", path, {"name": "again"}))[1]["code"] == 160004


async def test_the_wrong_token_is_unauthorized(raw: RawBot, server: SandboxServer) -> None:
    server.bot_token = "wrong"

    assert (await raw.call("GET", "/users/@me"))[0] == 401


async def test_a_link_works_for_a_day_and_only_as_signed(
    raw: RawBot, ada: SandboxUser, watch: Watch
) -> None:
    _, message = await raw.upload("a.txt", b"abc", content="file")
    url = message["attachments"][0]["url"]

    async def status(link: str) -> int:
        async with raw.http.get(link) as response:
            return response.status

    assert await status(url) == 200
    assert await status(url.replace("a.txt", "b.txt")) == 404
    assert await status(url.replace("ex=", "ex=f")) == 404
    watch.ahead += 24 * 60 * 60 + 1
    assert await status(url) == 404
    assert await ada.download((await ada.messages())[0].attachments[0]) == b"abc"
