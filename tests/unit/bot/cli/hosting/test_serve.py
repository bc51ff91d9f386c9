"""`serve` and `sandbox` load everything first, so that no import or collection stalls the bot."""

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from bot.cli.home import Home
from bot.cli.hosting.serve import sandbox, serve

# What the first commands use.
NEEDED = ("training.operations.runs", "training.registry.datasets", "training.rehearsal.engine")


@pytest.fixture(autouse=True)
def _collector_as_before() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("program", [sandbox, serve])
def test_the_program_is_loaded_and_frozen_before_its_loop_starts(
    program: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: set[str] = set()
    visited: set[int] = set()

    def run(main: Coroutine[object, object, None]) -> None:
        main.close()
        loaded.update(sys.modules)
        visited.update(map(id, gc.get_objects()))

    monkeypatch.setenv("LORABOT_DISCORD_TOKEN", "x" * 20)
    monkeypatch.setattr(asyncio, "run", run)

    program(home=Home(home=tmp_path))

    assert loaded.issuperset(NEEDED)
    ours = [name for name in loaded if name.split(".")[0] in ("bot", "training", "storage")]
    assert [name for name in ours if id(vars(sys.modules[name])) in visited] == []


def test_the_collector_visits_modules_that_are_not_frozen() -> None:
    visited = set(map(id, gc.get_objects()))

    assert id(vars(sys.modules["bot.cli.hosting.serve"])) in visited
