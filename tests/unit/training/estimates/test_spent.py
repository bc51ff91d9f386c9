"""The cost of a run on the GPUs that its attempts got."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.specs import spec
from training.estimates.machine_requests import CACHE_REQUEST, TRAIN_REQUEST, MachineRequest
from training.estimates.prices import listed_prices
from training.estimates.spent import stage_usd, usd_spent
from training.runs import events as ev
from training.runs.events import Event, StageBody, StageEvent
from training.runs.state import fold
from training.vocabulary import StageKey

SPEC, PRICES = spec("wan22-i2v-vanilla"), listed_prices()
START = SPEC.created_at
CACHE, HIGH = StageKey("cache"), StageKey("train", "high")


def at(minutes: int, key: StageKey, body: StageBody, attempt: int = 1) -> Event:
    when = START + timedelta(minutes=minutes)
    return StageEvent(at=when, key=key, attempt=attempt, body=body)


def usd(gpu: str, minutes: int, request: MachineRequest = TRAIN_REQUEST) -> float:
    return PRICES.container_usd_per_second(gpu, request) * minutes * 60


@pytest.mark.parametrize("gpu", ["A100-80GB", "H200"])
def test_an_attempt_is_paid_for_on_the_gpu_that_it_got(gpu: str) -> None:
    run = fold(SPEC, [at(10, HIGH, ev.StageStarted(gpu=gpu))])

    assert usd_spent(run, PRICES, START + timedelta(minutes=40)) == pytest.approx(usd(gpu, 30))
    assert usd(gpu, 30) != pytest.approx(usd("H100", 30))


def test_attempts_on_two_gpus_are_added_and_the_time_between_them_is_free() -> None:
    run = fold(
        SPEC,
        [
            at(0, CACHE, ev.StageStarted(gpu="H100")),
            at(5, CACHE, ev.StageSucceeded()),
            at(10, HIGH, ev.StageStarted(gpu="H100")),
            at(12, HIGH, ev.StageStarted(resumed_step=0)),  # reported when the model is loaded
            at(70, HIGH, ev.StageStopped(reason="the stage's machine was taken away")),
            at(80, HIGH, ev.StageSubmitted(handle="b"), attempt=2),
            at(90, HIGH, ev.StageStarted(gpu="A100-80GB"), attempt=2),
            at(100, HIGH, ev.StageSucceeded(), attempt=2),
        ],
    )

    high = usd("H100", 60) + usd("A100-80GB", 10)
    much_later = START + timedelta(days=1)
    assert stage_usd(run, HIGH, PRICES, much_later) == pytest.approx(high)
    assert usd_spent(run, PRICES, much_later) == pytest.approx(high + usd("H100", 5, CACHE_REQUEST))


def cost(seconds: float, rate: float | None = 0.001) -> ev.StageCost:
    return ev.StageCost(seconds=seconds, gpu="H100", cores=2, memory_gib=16, usd_per_second=rate)


# An attempt that reported its own end, one that was found gone after the next had started, and one
# that is still running.
ATTEMPTS = [
    at(0, HIGH, ev.StageStarted(gpu="H100")),
    at(60, HIGH, cost(3_600)),
    at(60, HIGH, ev.StageStopped(reason="preempted")),
    at(70, HIGH, ev.StageStarted(gpu="H100"), attempt=2),
    at(100, HIGH, ev.StageStarted(gpu="H200"), attempt=3),
    at(99, HIGH, cost(600), attempt=2),
    at(99, HIGH, ev.StageLost(), attempt=2),
    at(61, HIGH, cost(9_999)),
]


def test_recorded_costs_are_added_to_that_of_the_running_attempt() -> None:
    run = fold(SPEC, ATTEMPTS)

    spent = usd_spent(run, PRICES, START + timedelta(minutes=130))

    assert spent == pytest.approx(3.6 + 0.6 + usd("H200", 30))


@given(st.lists(st.sampled_from(ATTEMPTS)))
def test_an_event_that_is_read_again_is_not_billed_again(again: list[Event]) -> None:
    now = START + timedelta(minutes=130)

    assert usd_spent(fold(SPEC, [*ATTEMPTS, *again]), PRICES, now) == usd_spent(
        fold(SPEC, ATTEMPTS), PRICES, now
    )


def test_an_ended_run_needs_no_prices() -> None:
    ended = [at(0, HIGH, ev.StageStarted(gpu="H100")), at(60, HIGH, cost(3_600))]

    assert usd_spent(fold(SPEC, ended), None, START) == pytest.approx(3.6)
    assert usd_spent(fold(SPEC, [at(60, HIGH, cost(3_600, rate=None))]), PRICES, START) is None


def test_a_gpu_without_a_price_has_no_cost() -> None:
    events = [at(0, HIGH, ev.StageStarted(gpu="GeForce RTX 4090"))]

    assert usd_spent(fold(SPEC, events), PRICES, START) is None
    assert usd_spent(fold(SPEC, []), PRICES, START) is None
