"""How long a step takes: measured points, what lies between them, and what is only rough."""

from dataclasses import replace
from typing import Any

import pytest

from tests.specs import spec
from training.catalogue.gpus import GPUS
from training.catalogue.models import MODELS, Model, find_model
from training.estimates.step_times import MEASURED, Points, StepKind, StepTimes, step_kind
from training.runs.hyperparameters import Fast

MOST_WRONG = 0.15
INTERIOR = [(kind, tokens) for kind, points in MEASURED.items() for tokens in sorted(points)[1:-1]]
KIND = StepKind(family="wan21", gpu="H100")


def without(kind: StepKind, tokens: int) -> StepTimes:
    """Return the times as if one point had not been measured."""
    points = {at: its for at, its in MEASURED[kind].items() if at != tokens}
    return StepTimes({**MEASURED, kind: points})


def test_seven_interior_points_or_more_are_left_out_in_turn() -> None:
    assert len(INTERIOR) >= 7


@pytest.mark.parametrize(("kind", "tokens"), INTERIOR, ids=str)
def test_each_interior_point_is_told_from_the_others(kind: StepKind, tokens: int) -> None:
    told = without(kind, tokens)

    assert told.is_measured(kind, tokens)
    assert told.seconds(kind, tokens) == pytest.approx(MEASURED[kind][tokens], rel=MOST_WRONG)


@pytest.mark.parametrize("kind", [k for k, points in MEASURED.items() if len(points) > 2], ids=str)
def test_a_step_slightly_longer_than_all_measured_ones_is_told_too(kind: StepKind) -> None:
    longest = max(MEASURED[kind])
    told = without(kind, longest)

    assert told.is_measured(kind, longest)
    assert told.seconds(kind, longest) == pytest.approx(MEASURED[kind][longest], rel=MOST_WRONG)


@pytest.mark.parametrize("kind", MEASURED, ids=str)
def test_a_measured_point_is_told_exactly_and_more_tokens_take_longer(kind: StepKind) -> None:
    times = StepTimes()

    told = [times.seconds(kind, tokens) for tokens in range(500, 60_000, 500)]

    assert all(times.seconds(kind, at) == pytest.approx(s) for at, s in MEASURED[kind].items())
    assert told == sorted(told)


def test_wan_22_has_its_own_times() -> None:
    times = StepTimes()
    pair, one = (step_kind(find_model(m), "H100") for m in ("wan22-i2v-vanilla", "wan21-t2v-14b"))

    assert times.seconds(pair, 3_600) == pytest.approx(1.39)
    assert times.seconds(pair, 21_600) == pytest.approx(9.2, abs=0.05)
    assert times.seconds(pair, 24_480) > times.seconds(one, 24_480)


@pytest.mark.parametrize(
    ("kind", "tokens"),
    [
        (replace(KIND, gpu="A100-80GB"), 21_600),
        (replace(KIND, family="wan21-1.3b"), 21_600),
        (replace(KIND, family="wan21-clip"), 21_600),
        (replace(KIND, fast="16bit"), 21_600),
        (replace(KIND, is_swapping=True), 21_600),
        (replace(KIND, gpu="GeForce RTX 4090"), 21_600),
        (KIND, 1_560),
        (KIND, 75_600),
    ],
    ids=str,
)
def test_what_was_not_measured_is_rough_but_has_a_time(kind: StepKind, tokens: int) -> None:
    assert not StepTimes().is_measured(kind, tokens)
    assert StepTimes().seconds(kind, tokens) > 0


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize("gpu", GPUS)
def test_every_model_has_a_time_on_every_gpu(model: Model, gpu: str) -> None:
    times = StepTimes()
    usual = times.seconds(step_kind(model, "H100"), 21_600)

    rough = times.seconds(step_kind(model, gpu), 21_600)

    assert rough == pytest.approx(usual * GPUS[gpu].step_factor, rel=0.1)


def test_compiled_steps_take_less_and_settings_decide_the_kind() -> None:
    model, times = find_model("wan21-t2v-14b"), StepTimes()

    def kind(**settings: Any) -> StepKind:
        return step_kind(model, "H200", spec(model.name, **settings).experts[0].settings)

    assert kind() == StepKind(family="wan21", gpu="H200")
    assert kind(fp8="no") == StepKind(family="wan21", gpu="H200", is_fp8=False)
    assert kind(blocks_to_swap="20").is_swapping
    assert kind(fast="16bit", fp8="no") == StepKind(family="wan21", gpu="H200", fast="16bit")
    seconds = [times.seconds(kind(fast=fast), 21_600) for fast in ("off", "16bit", "fp8")]
    assert seconds == sorted(seconds, reverse=True)
    assert all(times.is_measured(kind(fast=fast), 21_600) for fast in ("16bit", "fp8"))


@pytest.mark.parametrize("fast", ["16bit", "fp8"])
def test_compiled_steps_on_an_unmeasured_gpu_are_likened_to_measured_ones(fast: Fast) -> None:
    times, known = StepTimes(), StepKind(family="wan22", gpu="H200", fast=fast)
    other = replace(known, gpu="H100")

    assert not times.is_measured(other, 21_600)
    slower = GPUS["H100"].step_factor / GPUS["H200"].step_factor
    assert times.seconds(other, 21_600) == pytest.approx(MEASURED[known][21_600] * slower)


def test_earlier_runs_correct_all_points_of_their_kind() -> None:
    slower: Points = {21_600: 2 * 8.46}

    times = StepTimes().corrected({KIND: slower})

    assert times.seconds(KIND, 21_600) == pytest.approx(2 * 8.46)
    assert times.seconds(KIND, 3_600) == pytest.approx(2 * 1.20)
    other = replace(KIND, gpu="H200")
    assert times.seconds(other, 21_600) == StepTimes().seconds(other, 21_600)


def test_a_kind_is_measured_once_a_run_here_has_trained_with_it() -> None:
    small = StepKind(family="wan21-1.3b", gpu="A10", is_fp8=False)

    times = StepTimes().corrected({small: {1_560: 0.5, 9_360: 4.0}})

    assert not StepTimes().is_measured(small, 9_360)
    assert times.is_measured(small, 9_360)
    assert times.is_measured(small, 1_560)
    assert times.seconds(small, 9_360) == pytest.approx(4.0)
    assert 0.5 < times.seconds(small, 4_680) < 4.0


def test_a_single_point_holds_for_steps_of_about_its_size() -> None:
    small = StepKind(family="wan21-1.3b", gpu="A10", is_fp8=False)

    times = StepTimes().corrected({small: {9_360: 4.0}})

    assert times.seconds(small, 9_360) == pytest.approx(4.0)
    assert 1.8 < times.seconds(small, 4_680) < 2.0  # attention costs less in shorter steps
    assert [times.is_measured(small, at) for at in (4_000, 4_680, 11_700, 12_000)] == [
        *(False, True, True, False)
    ]


def test_earlier_runs_never_change_other_gpus_or_modes() -> None:
    rough = replace(KIND, fast="16bit")
    seen = {KIND: {21_600: 50.0}, rough: {3_600: 9.0}}
    others = [
        *(kind for kind in MEASURED if kind != KIND),
        *(replace(kind, gpu=gpu) for kind in (KIND, rough) for gpu in GPUS if gpu != "H100"),
        replace(KIND, fast="fp8"),
        replace(KIND, is_swapping=True),
        replace(rough, family="wan22"),
    ]

    times = StepTimes().corrected(seen)

    for kind in others:
        for tokens in (1_560, 3_600, 21_600, 75_600):
            assert times.seconds(kind, tokens) == StepTimes().seconds(kind, tokens)
            assert times.is_measured(kind, tokens) == StepTimes().is_measured(kind, tokens)
        assert not times.is_seen(kind)
    assert times.is_seen(KIND)


def test_noise_in_sizes_that_are_close_together_is_not_extrapolated() -> None:
    usual = StepTimes()
    seen = {at: usual.seconds(KIND, at) * noise for at, noise in ((3_600, 1.05), (3_640, 0.95))}

    times = usual.corrected({KIND: seen})

    for tokens in (1_560, 21_600, 32_760):
        assert times.seconds(KIND, tokens) == pytest.approx(usual.seconds(KIND, tokens), rel=0.06)
