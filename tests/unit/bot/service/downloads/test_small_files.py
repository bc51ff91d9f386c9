"""Checkpoints small enough to come along with the links to them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.damage import DAMAGE
from tests.unit.bot.web_side import BYTES, GUILD, HIGH, RUN, Web
from training.runs.event_log import RunLog
from training.runs.state import Run
from training.store_keys import RunKeys

NAME = HIGH.rpartition("/")[2]


def loaded(web: Web) -> Run:
    return RunLog(web.store, GUILD, RUN).load()


async def test_checkpoints_within_the_limit_come_along(web: Web) -> None:
    found = web.downloads.small_files(loaded(web), 50, 2 * len(BYTES))

    assert [name for name, _ in found] == [NAME, "annika-low.safetensors"]
    assert found[0][1] == BYTES


async def test_checkpoints_too_large_together_do_not_come_along(web: Web) -> None:
    assert web.downloads.small_files(loaded(web), 50, 2 * len(BYTES) - 1) == []


@pytest.mark.parametrize("harm", DAMAGE.values(), ids=DAMAGE)
async def test_damaged_checkpoints_do_not_come_along(web: Web, harm: Callable[..., None]) -> None:
    harm(web.store.path(f"{RunKeys(GUILD, RUN).folder}/{HIGH}"))

    assert web.downloads.small_files(loaded(web), 50, 2 * len(BYTES)) == []


async def test_a_missing_checkpoint_of_a_run_without_checksums_does_not_come_along(
    web: Web,
) -> None:
    run = loaded(web)
    high = run.expert("high")
    old = tuple(replace(one, crc32=None) for one in high.checkpoints)
    run = replace(run, experts={**run.experts, "high": replace(high, checkpoints=old)})
    await web.delete(HIGH)

    assert web.downloads.small_files(run, 50, 2 * len(BYTES)) == []
