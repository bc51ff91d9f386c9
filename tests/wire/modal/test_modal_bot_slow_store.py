"""The deployed bot beside a store that answers slowly: Discord's 3 seconds are kept all the same."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import pytest
import pytest_asyncio

from tests.wire.bot.chat import Chat
from tests.wire.modal.crowd import fill
from tests.wire.modal.hosting import Hosting, hosting, person

T = TypeVar("T")
pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
DELAY_SECONDS = 0.15


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


async def timed(what: str, asked: Awaitable[T]) -> T:
    began = time.monotonic()
    found = await asked
    print(f"{what}: {time.monotonic() - began:.1f} s")
    return found


async def test_it(hosted: Hosting, ada: Chat) -> None:
    for _ in range(2):
        for command, option, typed in (("status", "run-name", ""), ("train", "dataset", ""), ("train", "resume-from", "")):
            try:
                choices = await timed(f"{command} {option}", ada.user.autocomplete(command, option, typed))
                print(len(choices))
            except Exception as e: print(repr(e))
        for command, options in (("runs", {}), ("status", {"run_name": "run-1"}),("dataset list", {}), ("train", {"model": "wan21-t2v-1-3b", "dataset": "set-1"})):
            try:
                a = await timed(command, ada.ask(command, **options)); print(a.text[:200])
            except (Exception, AssertionError) as e: print(repr(e))
    for name in ("Bot",):
        print(hosted.loopback.logs(name)[-3000:])
    print(hosted.loopback.plane.router.counts)
