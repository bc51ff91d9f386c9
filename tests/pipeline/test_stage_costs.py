"""What each attempt of a stage cost is recorded when it ends, however it ends, and only once."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.media import guide_files
from tests.pipeline.stages import Stages
from training.errors import StageError
from training.estimates.machine_requests import PREPARE_REQUEST, TRAIN_REQUEST
from training.estimates.prices import PriceList, listed_prices
from training.pipeline.advance import advance
from training.pipeline.runtime import now
from training.pipeline.stage_costs import ALLOWANCE
from training.pipeline.stage_runner import StageContext, StageResult, run_stage
from training.pipeline.stage_writes import StageInterruptedError
from training.ports import BusyError, Call
from training.runs.events import StageCost
from training.runs.spec import RunSpec
from training.runs.state import Run
from training.vocabulary import EngineName, StageKey

PREPARE, TRAIN = StageKey("prepare"), StageKey("train", "main")
WORK = timedelta(seconds=90)
RATE = listed_prices().container_usd_per_second("L4", TRAIN_REQUEST)


@dataclass
class Clock:
    """A clock that a test moves."""

    at: datetime = field(default_factory=now)

    def now(self) -> datetime:
        return self.at


class KilledError(BaseException):
    """The container disappeared in the middle of the work."""


def _an_l4(_engine: EngineName) -> str:
    return "L4"


class Billed:
    """A run on an installation whose stages are billed, on a clock that the test moves."""

    def __init__(self, folder: Path, prices: PriceList | None = None) -> None:
        self.stages, self.clock = Stages(folder), Clock()
        self.prices = prices or listed_prices()
        self.stages.upload(guide_files(images=2, clips=0))
        local = self.stages.local
        local.runtime = replace(
            local.runtime,
            clock=self.clock.now,
            is_billed=True,
            prices=lambda: self.prices,
            found_gpu=_an_l4,
        )
        self.spec: RunSpec = self.stages.begin()

    def attempt(
        self, key: StageKey, function: Callable[[StageContext], StageResult], number: int = 1
    ) -> None:
        """Run one attempt of a stage, which does what `function` does."""
        call = Call(
            guild=self.spec.guild, run=self.spec.name, key=key, attempt=number, device="gpu"
        )
        run_stage(self.stages.local.runtime, call, function, threading.Event())

    def works(self, error: BaseException | None = None) -> Callable[[StageContext], StageResult]:
        """Return a stage that works for a while and then raises `error`, if any."""

        def work(_context: StageContext) -> StageResult:
            self.clock.at += WORK
            if error is not None:
                raise error
            return StageResult()

        return work

    @property
    def run(self) -> Run:
        return self.stages.local.runtime.log(self.spec.guild, self.spec.name).load()

    def spent_usd(self) -> float | None:
        return self.stages.local.runs.view(self.spec.guild, self.spec.name).spent_usd(self.clock.at)


@pytest.fixture
def billed(tmp_path: Path) -> Billed:
    return Billed(tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        None,
        StageInterruptedError("stopped on request"),
        BusyError("try again later"),
        StageError("It does not fit.", "Use less."),
        OSError("a broken drive"),
    ],
    ids=repr,
)
def test_an_attempt_records_its_seconds_machine_and_price(
    billed: Billed, error: BaseException | None
) -> None:
    billed.attempt(TRAIN, billed.works(error))

    assert billed.run.costs == {
        (TRAIN, 1): StageCost(seconds=90, gpu="L4", cores=2, memory_gib=16, usd_per_second=RATE)
    }
    assert billed.spent_usd() == pytest.approx(90 * RATE)


def test_a_bug_is_billed_too(billed: Billed) -> None:
    with pytest.raises(ZeroDivisionError):
        billed.attempt(TRAIN, billed.works(ZeroDivisionError()))

    assert billed.run.costs[TRAIN, 1].seconds == 90


def test_stages_without_a_gpu_cost_their_cores_and_memory(billed: Billed) -> None:
    billed.attempt(PREPARE, billed.works())

    cost = billed.run.costs[PREPARE, 1]
    assert (cost.gpu, cost.cores, cost.memory_gib) == (None, 4, 8)
    rate = listed_prices().machine.usd_per_second(PREPARE_REQUEST)
    assert billed.spent_usd() == pytest.approx(90 * rate)


def test_every_attempt_counts_once_and_the_running_one_up_to_now(billed: Billed) -> None:
    seen: list[float | None] = []

    def look(_context: StageContext) -> StageResult:
        billed.clock.at += WORK
        seen.append(billed.spent_usd())
        return StageResult()

    billed.attempt(TRAIN, billed.works(StageInterruptedError("preempted")))
    billed.clock.at += timedelta(hours=1)  # in the queue
    billed.attempt(TRAIN, look, number=2)

    assert seen == [pytest.approx(2 * 90 * RATE)]
    assert billed.spent_usd() == pytest.approx(2 * 90 * RATE)


def test_a_recorded_cost_keeps_the_price_of_its_day(billed: Billed) -> None:
    billed.attempt(TRAIN, billed.works())
    usual = listed_prices().usd_per_second

    billed.prices = replace(
        listed_prices(), usd_per_second={name: 2 * usd for name, usd in usual.items()}
    )

    assert billed.spent_usd() == pytest.approx(90 * RATE)


def test_an_attempt_that_vanished_counts_to_its_last_sign_of_life_plus_an_allowance(
    billed: Billed,
) -> None:
    def is_killed(context: StageContext) -> StageResult:
        billed.clock.at += WORK
        context.report_progress({"done": 1}, is_last=True)
        raise KilledError

    with pytest.raises(KilledError):
        billed.attempt(PREPARE, is_killed)
    billed.clock.at += timedelta(days=1)  # until somebody looks
    billed.stages.bury(billed.spec, PREPARE)
    advance(billed.stages.local.runtime, billed.spec.guild, billed.spec.name)

    assert billed.run.costs[PREPARE, 1].seconds == (WORK + ALLOWANCE).total_seconds()
    assert len(billed.run.costs) == 1


def test_an_attempt_found_gone_soon_counts_no_longer_than_until_then(billed: Billed) -> None:
    with pytest.raises(KilledError):
        billed.attempt(PREPARE, billed.works(KilledError()))
    billed.stages.bury(billed.spec, PREPARE)

    assert billed.run.costs[PREPARE, 1].seconds == 90


def test_a_call_that_is_started_again_after_a_cut_off_is_billed_once(billed: Billed) -> None:
    with pytest.raises(KilledError):
        billed.attempt(PREPARE, billed.works(KilledError()))
    for lease in (billed.stages.local.home / "leases").iterdir():
        lease.unlink()
    billed.clock.at += timedelta(hours=1)

    billed.attempt(PREPARE, billed.works())
    billed.attempt(PREPARE, billed.works())

    assert {at: cost.seconds for at, cost in billed.run.costs.items()} == {
        (PREPARE, 1): ALLOWANCE.total_seconds()
    }
