"""Lists for people who wait: reading old runs in the background delays and outlives nothing."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.service.run_lists import RunLists
from bot.settings import Settings
from tests.many_runs import Crowd

GUILD = "1"


async def test_old_runs_are_read_in_the_background_until_the_bot_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(tmp_path, GUILD, owner="7")
    for number in range(100):
        crowd.add_ended(number, "5")
    crowd.add_live(0, "5")
    installation = LocalInstallation(Settings(home=tmp_path))
    has_stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read_slowly(_guild: str, is_stopped: Callable[[], bool]) -> None:
        while not is_stopped():
            time.sleep(0.01)
        loop.call_soon_threadsafe(has_stopped.set)

    monkeypatch.setattr(installation.runs, "read_ended", read_slowly)
    lists = RunLists(installation)
    async with lists.running():
        page = await lists.newest(GUILD)
        states = await lists.states(GUILD, "live", 25)

    async with asyncio.timeout(30):
        await has_stopped.wait()
    assert ([run.name for run in page.runs], page.unread) == (["live-0"], 100)
    assert states == {"live-0": "running"}


async def test_what_was_read_in_the_background_is_listed(tmp_path: Path) -> None:
    crowd = Crowd(tmp_path, GUILD, owner="7")
    for number in range(100):
        crowd.add_ended(number, "5")
    lists = RunLists(LocalInstallation(Settings(home=tmp_path)))

    async with asyncio.timeout(60), lists.running():
        while (page := await lists.newest(GUILD, 2)).unread:  # noqa: ASYNC110  # threads read
            await asyncio.sleep(0.01)

    assert page.total == 100
    assert [run.name for run in page.runs] == ["ended-99", "ended-98"]
