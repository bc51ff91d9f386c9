"""The steps of an attempt, timed by size, tell how long the rest takes."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice

import pytest

from tests import specs
from tests.specs import report
from training.dataset.config.group import StepSize
from training.dataset.config.guide_groups import plan_groups
from training.estimates.step_times import StepKind
from training.pipeline.outlook import seconds_left
from training.pipeline.run_view import Progress, RunView, stage_keys
from training.pipeline.step_clock import FEWEST_STEPS, StepClock
from training.runs import events as ev
from training.runs.events import TimedSteps
from training.runs.state import fold
from training.runs.training_events import FastRefused, StepDone
from training.vocabulary import StageKey

KIND = StepKind(family="wan22", gpu="A100-80GB", fast="16bit")
IMAGE, CLIP = (1, 3_600), (1, 21_600)
SECONDS = {3_600: 1.1, 21_600: 14.0}  # not in the ratio of the built-in measurements
EPOCH = {IMAGE: 40, CLIP: 15}
EPOCHS, COMPILING = 30, 75.0
ENOUGH = 20


def steps(seed: int, epoch_steps: Mapping[StepSize, int] = EPOCH) -> Iterator[StepDone]:
    """Yield the steps of a whole training: in random order, the first of each size slow."""
    chance, seen = random.Random(seed), set[StepSize]()
    total, step = EPOCHS * sum(epoch_steps.values()), 0
    for epoch in range(1, EPOCHS + 1):
        order = list(Counter(epoch_steps).elements())
        chance.shuffle(order)
        for samples, tokens in order:
            step += 1
            seconds = samples * SECONDS[tokens] * chance.uniform(0.95, 1.1)
            seconds += 0.0 if (samples, tokens) in seen else COMPILING
            seen.add((samples, tokens))
            yield step_done(step, total, epoch, seconds, samples, tokens)


def step_done(
    step: int, total: int, epoch: int, seconds: float, samples: int | None, tokens: int | None
) -> StepDone:
    return StepDone(
        step=step,
        total_steps=total,
        epoch=epoch,
        loss=0.1,
        average_loss=0.1,
        learning_rate=1e-4,
        seconds_per_step=seconds,
        samples=samples,
        tokens=tokens,
    )


def shown(clock: StepClock, newest: StepDone) -> float:
    """Return the time left as the run's card gets it."""
    spec, key = specs.spec("wan21-t2v-14b"), StageKey("train", "main")
    at = datetime(2026, 8, 1, tzinfo=UTC)
    started = ev.StageEvent(at=at, key=key, attempt=1, body=ev.StageStarted())
    progress = Progress(
        step=newest.step,
        total_steps=newest.total_steps,
        seconds_per_step=newest.seconds_per_step,
        seconds_left=clock.seconds_left(),
        attempt=1,
    )
    run = fold(spec, [started])
    view = RunView(run=run, keys=stage_keys(spec), progress={key: progress}, positions={})
    left = seconds_left(view, "main")
    assert left is not None
    return left


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("skipped", [0, 27], ids=["whole", "resumed within an epoch"])
@pytest.mark.parametrize("sizes", [EPOCH, {(2, 3_600): 9, (1, 3_600): 1, CLIP: 30}], ids=str)
def test_after_20_steps_of_each_size_the_predicted_total_is_within_5_percent(
    seed: int, skipped: int, sizes: Mapping[StepSize, int]
) -> None:
    every = list(islice(steps(seed, sizes), skipped, None))
    total = sum(step.seconds_per_step or 0.0 for step in every)
    clock, taken, elapsed, newest = StepClock(KIND, sizes), Counter[int](), 0.0, every[0]

    for newest in every:
        clock.see(newest)
        elapsed += newest.seconds_per_step or 0.0
        taken[newest.tokens or 0] += 1
        if min(taken[tokens] for tokens in SECONDS) >= ENOUGH:
            break

    assert elapsed < total / 5
    assert elapsed + shown(clock, newest) == pytest.approx(total, rel=0.05)


def test_a_size_that_was_not_seen_yet_is_predicted_from_the_others() -> None:
    clock = StepClock(StepKind(family="wan21", gpu="H100"), {IMAGE: 1, CLIP: 1})

    # Twice as slow as measured: 1.20 s and 8.46 s.
    clock.see(step_done(1, 2, 1, 2.4, *IMAGE))

    assert clock.seconds_left() == pytest.approx(2 * 8.46)


@pytest.mark.parametrize("size", [(None, None), (1, 1_560)], ids=["unknown", "not planned"])
def test_without_known_sizes_the_mean_step_counts(size: tuple[int | None, int | None]) -> None:
    clock = StepClock(KIND, EPOCH)

    clock.see(step_done(1, 10, 1, 2.0, *IMAGE))
    clock.see(step_done(2, 10, 1, 4.0, *size))

    assert clock.seconds_left() == pytest.approx(8 * 3.0)


def test_nothing_is_told_before_the_first_step() -> None:
    assert StepClock(KIND, EPOCH).seconds_left() is None


def test_a_median_of_enough_steps_is_recorded_for_each_size_without_its_first_step() -> None:
    clock = StepClock(KIND, {(2, 3_600): 100, CLIP: 100})
    every = [step_done(n, 200, 1, 2.0 + (n == 5), 2, 3_600) for n in range(2, FEWEST_STEPS + 2)]
    few = [step_done(n, 200, 1, 9.0, *CLIP) for n in range(100, 100 + FEWEST_STEPS)]

    for step in (step_done(1, 200, 1, 90.0, 2, 3_600), *every, *few):
        clock.see(step)

    assert clock.timed() == (TimedSteps(3_600, 1.0, FEWEST_STEPS),)


def test_steps_before_compiled_steps_were_refused_do_not_count() -> None:
    clock = StepClock(KIND, EPOCH)
    for step in islice(steps(0), 200):
        clock.see(step)
    assert len(clock.timed()) == 2

    clock.heed(FastRefused(reason="blocks are swapped"))

    assert clock.timed() == ()
    assert clock.kind == StepKind(family="wan22", gpu="A100-80GB", fast="off")


def test_the_steps_of_an_epoch_are_known_by_size() -> None:
    plan = plan_groups(report(images=3, clips=2, frames=49))

    assert sum(plan.step_sizes.values()) == plan.steps_per_epoch
    assert plan.step_sizes[1, 3_600] >= 3
