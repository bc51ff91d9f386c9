"""The deployed bot answers within Discord's 3 seconds even with a slow store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import pytest
import pytest_asyncio

from tests.wire.bot.chat import Chat
from tests.wire.modal.crowd import DATASETS, ENDED, OPEN, fill
from tests.wire.modal.hosting import Hosting, hosting, person

T = TypeVar("T")
pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
DELAY_SECONDS = 0.1  # a request to Modal; the rest of the 3 s is for a slow machine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hosted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hosting]:
    async with hosting(tmp_path_factory.mktemp("slow")) as found:
        await asyncio.to_thread(fill, found)
        found.loopback.settings.rpc_delay_seconds = DELAY_SECONDS
        await asyncio.to_thread(found.start)
        yield found
        found.loopback.settings.rpc_delay_seconds = 0.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(hosted: Hosting) -> AsyncIterator[Chat]:
    async with person(hosted.server) as user:
        yield user


async def within_3_seconds(asked: Awaitable[T]) -> T:
    """Return the answer to what Discord waits 3 seconds for."""
    async with asyncio.timeout(3.0):
        return await asked


async def test_completion_answers_in_time(hosted: Hosting, ada: Chat) -> None:
    complete = ada.user.autocomplete

    runs = await within_3_seconds(complete("status", "run-name", ""))
    datasets = await within_3_seconds(complete("train", "dataset", ""))
    starts = await within_3_seconds(complete("train", "resume-from", "run"))
    again = await within_3_seconds(complete("status", "run-name", "run-0"))

    assert len(runs) == 25
    assert len(datasets) == DATASETS
    assert starts
    assert all(str(choice.value).startswith("run-") for choice in starts)
    assert [choice.name for choice in again] == ["run-0 (running)"]


@pytest.mark.parametrize(
    ("command", "options", "says"),
    [
        ("runs", {}, f"{OPEN + ENDED} runs"),
        ("status", {"run_name": "run-1"}, "run-1: running"),
        ("dataset list", {}, f"{DATASETS} datasets"),
        ("train", {"model": "wan21-t2v-1-3b", "dataset": "set-1"}, "has no function advance"),
    ],
)
async def test_commands_are_acknowledged_in_time_and_answered(
    hosted: Hosting, ada: Chat, command: str, options: dict[str, str], says: str
) -> None:
    answer = await ada.ask(command, **options)

    assert says in answer.text


async def test_many_people_at_once_are_acknowledged_in_time(hosted: Hosting, ada: Chat) -> None:
    async with person(hosted.server, "Ben") as ben:
        asked = [chat.user.command("runs") for chat in (ada, ben) for _ in range(3)]
        typed = [chat.user.autocomplete("status", "run-name", "run-1") for chat in (ada, ben)]

        begun, completed = await asyncio.gather(asyncio.gather(*asked), asyncio.gather(*typed))

        assert [one.status for one in begun if one.status == "failed"] == []
        assert all(choices for choices in completed)
        for one in begun[:3]:
            assert "run-0" in (await ada.user.reply(one, timeout=60)).text
