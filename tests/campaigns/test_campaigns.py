"""A little of what `make kills` plays; `make abuse` and `make damage` take too long for a test."""

from pathlib import Path

import pytest

from tests.campaigns import kills

pytestmark = pytest.mark.slow


async def test_some_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    outcome = await kills.play(seed=1, kills=6, folder=tmp_path, say=print)

    assert sum(outcome.kills.values()) == 6
    assert outcome.wrong == []
