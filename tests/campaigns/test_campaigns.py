"""A little of what `make kills` and `make abuse` play; `make damage` takes too long for a test."""

from pathlib import Path

import pytest

from tests.campaigns import abuse, kills

pytestmark = pytest.mark.slow


async def test_some_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    outcome = await kills.play(seed=1, kills=6, folder=tmp_path, say=print)

    assert sum(outcome.kills.values()) == 6
    assert outcome.wrong == []


async def test_some_abuse_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async with abuse.scene(tmp_path, live=4) as played:
        await played.play(seed=1, seconds=20.0, say=print)
        rows = {row.what: row for row in played.rows()}
        wrong = [*played.tally.wrong, *played.bot.tracebacks()]

    # On a busy machine, an answer may come later than the 3 s after which a command counts as lost.
    assert rows.pop("commands").doubled == 0
    assert [text for row in rows.values() for text in row.wrong()] == []
    assert rows["cards"].count >= 4
    assert wrong == []
