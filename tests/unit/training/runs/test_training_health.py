"""When a training counts as broken, diverged or dead."""

import math

import pytest

from training.runs.training_health import (
    LossWatch,
    TroubleWatch,
    course_of,
    gravest,
    has_diverged,
)


def test_three_nan_losses_in_a_row_end_a_training() -> None:
    watch = LossWatch()
    losses = [0.1, math.nan, math.inf, 0.2, -math.inf, math.nan, math.nan]

    ends = [watch.see(step, loss, (f"{step}",)) for step, loss in enumerate(losses, start=1)]

    assert ends == [False] * 6 + [True]
    assert (watch.first_step, watch.items) == (5, ("5",))


def test_troubles_are_reported_once_at_their_first_step() -> None:
    watch = TroubleWatch(warmup_steps=2, total_steps=6)
    nan, zero = float("nan"), 0.0

    def never() -> bool:
        raise AssertionError("looked at weights that no step has changed yet")

    assert list(watch.look(1, 1.0, zero, never)) == []
    assert list(watch.look(2, 1.0, 0.1, None)) == []
    assert list(watch.look(3, float("inf"), 0.1, lambda: True)) == [
        "loss_not_finite",
        "adapter_unchanged",
    ]
    assert list(watch.look(4, nan, 0.1, lambda: True)) == []
    assert list(watch.look(5, 1.0, zero, lambda: False)) == ["learning_rate_zero"]
    assert list(watch.look(6, 1.0, zero, lambda: False)) == []


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        ([], False),
        ([0.1], False),
        ([0.3, 0.1, 0.29], False),
        ([0.3, 0.1, 0.31], True),
        ([0.3, 0.1, 0.31, 0.1], True),  # once reported, it stays
        ([0.9, 0.1], False),  # falling fast is good
    ],
)
def test_an_epoch_far_above_a_better_one_before_has_diverged(
    losses: list[float], *, diverged: bool
) -> None:
    by_epoch = dict(enumerate(losses, start=1))

    assert has_diverged(by_epoch) is diverged
    assert has_diverged(dict(reversed(by_epoch.items()))) is diverged


def test_the_gravest_trouble_is_named() -> None:
    assert gravest(["learning_rate_zero", "loss_diverged"]) == "loss_diverged"
    assert gravest(["loss_diverged", "loss_not_finite"]) == "loss_not_finite"
    assert gravest([]) is None


def test_the_course_of_a_loss_names_its_best_epoch_and_by_how_much_it_fell() -> None:
    course = course_of({1: 0.4, 2: 0.1, 3: 0.2})

    assert course is not None
    assert (course.first, course.best, course.best_epoch, course.last) == (0.4, 0.1, 2, 0.2)
    assert course.fallen == pytest.approx(0.5)
    assert course_of({}) is None


@pytest.mark.parametrize(
    ("losses", "flat_since"),
    [
        ([0.4, 0.3, 0.2, 0.1], None),
        ([0.4, 0.2, *[0.2] * 5], 2),
        ([0.4, 0.2, *[0.2] * 4], None),
        ([0.4, 0.2, 0.5, 0.3, 0.25, 0.198, 0.21], 2),
        ([0.4, 0.2, 0.5, 0.3, 0.25, 0.21, 0.19], None),
    ],
)
def test_a_loss_is_flat_once_its_lowest_mean_hardly_falls_for_five_epochs(
    losses: list[float], flat_since: int | None
) -> None:
    course = course_of(dict(enumerate(losses, start=1)))

    assert course is not None
    assert course.flat_since == flat_since


def test_a_diverged_loss_names_its_epoch() -> None:
    course = course_of({1: 0.3, 2: 0.1, 3: 0.31})

    assert course is not None
    assert course.diverged_in == 3
