"""Runs on Modal that wait for each other: one GPU for all of them, first in, first out."""

import pytest

from tests.wire.modal.installation import GUILD, Installation, install
from tests.wire.modal.invariants import check, executions, most_on_gpus
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.dicts import ENTRY_SECONDS
from training.pipeline.advance import lease_name
from training.runs.state import Run, RunStatus, StageStatus
from training.vocabulary import StageKey

pytestmark = pytest.mark.slow
CACHE, TRAIN = StageKey("cache"), StageKey("train", "main")


@pytest.fixture(scope="module")
def deployed(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A deployment that may use one GPU at a time."""
    return install(shared, tmp_path_factory.mktemp("installation"), "narrow", gpu_stages=1)


def trains(run: Run) -> bool:
    return run.stage(TRAIN).status is StageStatus.RUNNING


def waits(run: Run) -> bool:
    return run.stage(CACHE).status is StageStatus.SUBMITTED


def places(installation: Installation, *runs: str) -> list[int | None]:
    """Return where in the queue the caching of each run is."""
    return [installation.view(run).positions.get(CACHE) for run in runs]


def let_days_pass(installation: Installation, run: str) -> None:
    """Let half of what expires nothing pass, and wait for what a run that trains uses meanwhile."""
    loopback, lease = installation.loopback, lease_name(GUILD, run, TRAIN).encode()
    dicts, clock = loopback.plane.dicts, loopback.plane.clock
    loopback.advance(ENTRY_SECONDS / 2)
    now = clock.now()
    # The newest generation of its lease, and the entry that names it; older ones are left alone.
    loopback.wait_for(lambda: sum(its >= now for its in dicts.last_uses(b"lease/", lease)) >= 2)
    installation.parts.backend.pump()  # as each tick does


def test_runs_queue_for_the_only_gpu_and_a_cancelled_one_leaves_the_queue(
    installation: Installation,
) -> None:
    first = installation.start(held="training", name="first")
    installation.until(first, trains)
    for name in ("second", "third"):
        installation.start(name=name)
        installation.until(name, waits)
    before = places(installation, "second", "third")
    assert before == [1, 2]

    installation.cancel("second")
    cancelled = installation.until("second", lambda run: run.status.is_final)
    after = places(installation, "third")
    installation.cancel("first")
    last = installation.finish("third")

    assert cancelled.status is RunStatus.CANCELLED
    assert after == [1]
    assert last.status is RunStatus.SUCCEEDED
    with_gpu = [its.stage for its in executions(installation) if its.call.device == "gpu"]
    assert with_gpu == [
        *(("first", CACHE), ("first", TRAIN)),
        *(("third", CACHE), ("third", TRAIN)),
    ]
    check(installation, "first", "second", "third")
    assert most_on_gpus(executions(installation)) == 1


def test_runs_that_wait_for_over_7_days_keep_their_place_and_their_attempt(
    installation: Installation,
) -> None:
    first = installation.start(held="training")
    installation.until(first, trains)
    waiting = ["zebra", "aardvark"]
    for run in waiting:
        installation.start(name=run)
        installation.until(run, waits)
    while None not in places(installation, *waiting):
        let_days_pass(installation, first)
    forgotten = places(installation, *waiting)

    installation.tick()
    installation.until(waiting[0], lambda _: None not in places(installation, *waiting))
    found_again = places(installation, *waiting)
    installation.cancel(first)
    found = [installation.finish(run) for run in waiting]

    assert forgotten == [None, None]
    assert found_again == [1, 2]
    for run in found:
        assert run.status is RunStatus.SUCCEEDED
        assert {stage.attempt for stage in run.stages.values()} == {1}
    check(installation, first, *waiting)
