"""The bot's programs start so that no pass of the garbage collector holds up their loop."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from bot.cli.home import Home
from bot.cli.hosting.serve import sandbox, serve


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.parametrize("program", [sandbox, serve])
def test_what_is_loaded_at_the_start_is_looked_at_no_more(
    program: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []

    def run(main: Coroutine[object, object, None]) -> None:
        main.close()
        looked_at.append(len(gc.get_objects()))

    monkeypatch.setenv("LORABOT_DISCORD_TOKEN", "x" * 20)
    monkeypatch.setattr(asyncio, "run", run)

    program(home=Home(home=tmp_path))

    assert looked_at[0] < 5_000
    assert gc.get_freeze_count() > 10 * looked_at[0]
