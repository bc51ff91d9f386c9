"""Runs on Modal that wait for each other: one GPU for all of them, first in, first out."""

import pytest

from tests.wire.modal.installation import Installation, install
from tests.wire.modal.invariants import check, executions, most_on_gpus
from tests.wire.modal.loopback.api import Loopback
from training.runs.state import Run, RunStatus, StageStatus
from training.vocabulary import StageKey

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CACHE, TRAIN = StageKey("cache"), StageKey("train", "main")


@pytest.fixture(scope="module")
def deployed(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A deployment that may use one GPU at a time."""
    return install(shared, tmp_path_factory.mktemp("installation"), "narrow", gpu_stages=1)


def trains(run: Run) -> bool:
    return run.stage(TRAIN).status is StageStatus.RUNNING


def waits(run: Run) -> bool:
    return run.stage(CACHE).status is StageStatus.SUBMITTED


def test_runs_wait_in_line_for_the_only_gpu_and_one_that_is_cancelled_leaves_it(
    installation: Installation,
) -> None:
    first = installation.start(delay=0.5, epochs="90", name="first")
    installation.until(first, trains)
    installation.hurry()
    for name in ("second", "third"):
        installation.start(name=name)
        installation.until(name, waits)
    before = [installation.view(name).positions.get(CACHE) for name in ("second", "third")]
    assert before == [1, 2]

    installation.cancel("second")
    cancelled = installation.until("second", lambda run: run.status.is_final)
    after = installation.view("third").positions.get(CACHE)
    installation.cancel("first")
    last = installation.finish("third")

    assert cancelled.status is RunStatus.CANCELLED
    assert after == 1
    assert last.status is RunStatus.SUCCEEDED
    with_gpu = [its.stage for its in executions(installation) if its.call.device == "gpu"]
    assert with_gpu == [
        *(("first", CACHE), ("first", TRAIN)),
        *(("third", CACHE), ("third", TRAIN)),
    ]
    check(installation, "first", "second", "third")
    assert most_on_gpus(executions(installation)) == 1
