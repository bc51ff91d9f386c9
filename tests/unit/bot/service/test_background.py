"""Background tasks: one for each key, logged if they fail, cancelled together."""

import asyncio

import pytest

from bot.service.background import BackgroundTasks


async def _settled() -> None:
    for _turn in range(5):
        await asyncio.sleep(0)


async def test_a_key_runs_one_task_at_a_time() -> None:
    tasks, gate, runs = BackgroundTasks(), asyncio.Event(), list[str]()

    async def work(name: str) -> None:
        runs.append(name)
        await gate.wait()

    tasks.start("a", lambda: work("first"), name="first")
    tasks.start("a", lambda: work("refused"), name="refused")
    tasks.start("b", lambda: work("other"), name="other")
    await _settled()
    gate.set()
    await _settled()
    tasks.start("a", lambda: work("later"), name="later")
    await _settled()

    assert runs == ["first", "other", "later"]


async def test_cancelled_tasks_have_ended() -> None:
    tasks, ends = BackgroundTasks(), list[str]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ends.append("ended")

    tasks.start("a", work, name="a")
    await _settled()

    await tasks.cancel()

    assert ends == ["ended"]


async def test_a_failure_is_logged_with_the_name_of_the_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = BackgroundTasks()

    async def work() -> None:
        raise ValueError("no luck")

    tasks.start("a", work, name="check upload 7")
    await _settled()

    assert "check upload 7 failed" in caplog.text
    assert "no luck" in caplog.text
