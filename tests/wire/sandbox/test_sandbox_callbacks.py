"""Wrong answers to interactions are refused, right ones are taken."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sandbox_raw import RawBot, RawSocket, Watch

from bot.sandbox.client import InteractionResult, SandboxUser
from bot.sandbox.server import SandboxServer
from training.errors import RequestError

TRAIN = {
    "name": "train",
    "description": "Train",
    "options": [{"type": 3, "name": "model", "description": "d", "autocomplete": True}],
}
MODAL = {"custom_id": "m", "title": "Title"}
TEXT = {"type": 4, "custom_id": "t", "style": 1}


@pytest.fixture
async def socket(raw: RawBot) -> AsyncIterator[RawSocket]:
    await raw.register(TRAIN)
    async with raw.gateway() as socket:
        await socket.identify()
        await socket.event("READY")
        yield socket


async def answer(raw: RawBot, event: dict[str, Any], body: dict[str, Any]) -> tuple[int, Any]:
    data = event["d"]
    return await raw.call("POST", f"/interactions/{data['id']}/{data['token']}/callback", body)


async def asked(
    ada: SandboxUser, socket: RawSocket
) -> tuple[asyncio.Task[InteractionResult], dict[str, Any]]:
    task = asyncio.create_task(ada.command("train"))
    return task, await socket.event("INTERACTION_CREATE")


@pytest.mark.parametrize(
    "body",
    [
        {"type": 7, "data": {"content": "x"}},  # there is no message to update
        {"type": 6},
        {"type": 8, "data": {"choices": []}},  # nobody asked for suggestions
        {"type": 3},
        {"type": 4, "data": {"content": "x" * 2001}},
        {"type": 4, "data": {}},
        {"type": 9, "data": {**MODAL, "components": []}},
        {"type": 9, "data": {**MODAL, "title": "x" * 46, "components": [
            {"type": 1, "components": [{**TEXT, "label": "a"}]}]}},
        {"type": 9, "data": {**MODAL, "components": [
            {"type": 18, "label": f"{n}", "component": {**TEXT, "custom_id": f"{n}"}}
            for n in range(6)]}},
        {"type": 9, "data": {**MODAL, "components": [
            {"type": 18, "label": f"{n}", "component": TEXT} for n in range(2)]}},
    ],
)  # fmt: skip
async def test_a_wrong_answer_is_refused_and_a_right_one_still_taken(
    raw: RawBot, socket: RawSocket, ada: SandboxUser, body: dict[str, Any]
) -> None:
    task, event = await asked(ada, socket)

    status, refusal = await answer(raw, event, body)

    assert status == 400
    assert refusal["code"] in (50035, 50006)
    assert await answer(raw, event, {"type": 4, "data": {"content": "right"}}) == (204, None)
    assert (await ada.reply(await task)).content == "right"


async def test_more_than_25_suggestions_are_refused(
    raw: RawBot, socket: RawSocket, ada: SandboxUser
) -> None:
    task = asyncio.create_task(ada.autocomplete("train", "model", "w"))
    event = await socket.event("INTERACTION_CREATE")
    assert event["d"]["data"]["options"][0]["focused"]
    many = [{"name": f"{n}", "value": f"{n}"} for n in range(26)]

    status, _ = await answer(raw, event, {"type": 8, "data": {"choices": many}})

    assert status == 400
    assert (await answer(raw, event, {"type": 8, "data": {"choices": many[:25]}}))[0] == 204
    assert len(await task) == 25


async def test_an_answer_after_three_seconds_of_the_clock_is_unknown(
    raw: RawBot, socket: RawSocket, ada: SandboxUser, watch: Watch
) -> None:
    task, event = await asked(ada, socket)
    watch.ahead += 3.1

    status, refusal = await answer(raw, event, {"type": 5})

    assert (status, refusal["code"]) == (404, 10062)
    assert (await task).status == "failed"


async def test_before_the_first_answer_there_is_no_webhook(
    raw: RawBot, socket: RawSocket, ada: SandboxUser
) -> None:
    task, event = await asked(ada, socket)
    path = f"/webhooks/{raw.server.world.application_id}/{event['d']['token']}"

    status, refusal = await raw.call("POST", path, {"content": "early"})

    assert (status, refusal["code"]) == (404, 10015)
    await answer(raw, event, {"type": 5, "data": {"flags": 64}})
    _, filled = await raw.call("POST", path, {"content": "late"})
    assert filled["flags"] == 64
    # What only one person sees cannot be reached as an ordinary message.
    ordinary = f"/channels/{raw.channel}/messages/{filled['id']}"
    assert (await raw.call("GET", ordinary))[1]["code"] == 10008
    assert (await raw.call("DELETE", f"{path}/messages/@original"))[0] == 204
    assert await ada.messages() == []
    await task


async def test_paths_and_queries_are_checked(raw: RawBot) -> None:
    messages = f"/channels/{raw.channel}/messages"

    assert (await raw.call("GET", "/channels/abc"))[0] == 400
    assert (await raw.call("GET", f"{messages}?limit=101"))[0] == 400
    assert (await raw.call("GET", f"{messages}?limit=x"))[0] == 400
    assert (await raw.call("GET", f"{messages}?before=x"))[0] == 400


SELECT = {
    "type": 3,
    "custom_id": "epoch",
    "max_values": 2,
    "options": [{"label": f"epoch {n}", "value": f"{n}"} for n in (10, 20, 30)],
}


async def test_a_select_sends_what_a_person_chose(
    raw: RawBot, socket: RawSocket, ada: SandboxUser
) -> None:
    await raw.send(components=[{"type": 1, "components": [SELECT]}])
    message = (await ada.messages())[0]
    with pytest.raises(RequestError, match="not one of the options"):
        await ada.select(message, "epoch", ["40"])
    with pytest.raises(RequestError, match="Choose 1 to 2"):
        await ada.select(message, "epoch", ["10", "20", "30"])

    task = asyncio.create_task(ada.select(message, "epoch", ["10", "30"]))
    event = await socket.event("INTERACTION_CREATE")

    assert event["d"]["data"]["values"] == ["10", "30"]
    await answer(raw, event, {"type": 7, "data": {"content": "chosen", "components": []}})
    changed = await ada.reply(await task)
    assert (changed.id, changed.content) == (message.id, "chosen")


async def test_a_user_select_explains_the_person(
    raw: RawBot, socket: RawSocket, ada: SandboxUser, server: SandboxServer
) -> None:
    ben = list(server.world.users)[1]
    await raw.send(components=[{"type": 1, "components": [{"type": 5, "custom_id": "who"}]}])

    task = asyncio.create_task(ada.select((await ada.messages())[0], "who", [ben]))
    event = await socket.event("INTERACTION_CREATE")

    resolved = event["d"]["data"]["resolved"]
    assert resolved["users"][ben]["global_name"] == "Ben"
    assert resolved["members"][ben]["roles"] == []
    await answer(raw, event, {"type": 6})
    await task


async def test_a_command_for_administrators_is_hidden_from_others(
    raw: RawBot, ada: SandboxUser, ben: SandboxUser
) -> None:
    await raw.register({**TRAIN, "default_member_permissions": 8})

    assert [command["name"] for command in await ada.commands()] == ["train"]  # owns the guild
    assert await ben.commands() == []
