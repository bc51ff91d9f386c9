"""What a run costs: the GPU, and the cores and the memory around it."""

from collections.abc import Mapping
from unittest.mock import create_autospec

import pytest

from tests.specs import report, spec
from training.catalogue.gpus import GPUS
from training.catalogue.models import MODELS, Model, find_model
from training.dataset.config.group import GroupPlan
from training.dataset.config.guide_groups import plan_groups
from training.estimates import time_and_cost
from training.estimates.machine_requests import MachineRequest, training_request
from training.estimates.prices import LISTED, listed_prices
from training.estimates.step_times import StepKind, StepTimes
from training.estimates.time_and_cost import Estimate, estimate, estimate_each, fallbacks
from training.runs.spec import TrainRequest, resolve_experts

PAIR = "wan22-i2v-lightning"


def pair_of_twenty_clips(gpu: str | None = None) -> Estimate:
    """Return the estimate for 4,000 steps an expert on clips of 81 frames at 720p."""
    groups = plan_groups(report(images=0, clips=20, frames=81))
    run = spec(PAIR)
    assert sum(len(group.items) * group.num_repeats for group in groups.groups) * 50 == 4_000
    return estimate(find_model(PAIR), groups, run.experts, gpu=gpu, prices=listed_prices())


def test_cores_and_memory_are_part_of_the_cost() -> None:
    found = pair_of_twenty_clips()

    # Wan 2.2 on an H100: 1.39 s for a frame, 9.23 s for 21 frames, 10.62 s for each 45 frames.
    training = 50 * 20 * (1.39 + 9.23 + 2 * 10.62) + 240
    caching = 240 + 6 * 80
    gpu, core, gib = 0.001097, 0.0000131, 0.00000222
    usd = 2 * training * (gpu + 2 * core + 16 * gib) + caching * (gpu + 2 * core + 27 * gib)
    merges = 2 * 285 * (8 * core + 16 * gib)
    assert found.seconds == pytest.approx(training + caching, rel=0.001)
    assert found.usd == pytest.approx(usd + merges, rel=0.001)
    assert found.is_measured


def test_a_pair_with_four_cores_and_48_gib_costs_the_sum_computed_by_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time_and_cost, "CACHE_REQUEST", MachineRequest(4.0, 32))
    training = create_autospec(training_request, return_value=MachineRequest(4.0, 48))
    monkeypatch.setattr(time_and_cost, "training_request", training)

    # 32,100 s for each expert and 720 s of caching, with 4 cores; merges have their own request.
    gpu, cores, gib = 0.001097, 4 * 0.0000131, 0.00000222
    usd = 2 * 32_100 * (gpu + cores + 48 * gib) + 720 * (gpu + cores + 32 * gib)
    assert pair_of_twenty_clips().usd == pytest.approx(usd + 0.08, abs=0.05)


@pytest.mark.parametrize(("fast", "share"), [("16bit", 0.60), ("fp8", 0.51)])
def test_compiled_steps_halve_the_training_of_the_pair_on_the_measured_gpu(
    fast: str, share: float
) -> None:
    model, groups = find_model(PAIR), plan_groups(report(images=0, clips=20, frames=81))

    def on_an_h200(fast: str) -> Estimate:
        experts, prices = spec(PAIR, fast=fast).experts, listed_prices()
        return estimate(model, groups, experts, gpu="H200", prices=prices)

    usual, compiled = on_an_h200("off"), on_an_h200(fast)

    assert compiled.is_measured
    # Caching and starting take as long as before.
    apart = 240 + 6 * 80 + 240
    assert (compiled.seconds - apart) / (usual.seconds - apart) < share


def test_a_merge_is_paid_for_without_a_gpu() -> None:
    groups, prices = plan_groups(report()), listed_prices()
    usd = {
        name: estimate(find_model(name), groups, spec(name).experts, gpu=None, prices=prices).usd
        for name in (PAIR, "wan22-i2v-vanilla")
    }

    assert usd[PAIR] - usd["wan22-i2v-vanilla"] == pytest.approx(0.08, abs=0.005)


def test_the_list_has_a_day_and_a_price_for_cores_and_memory() -> None:
    assert listed_prices().machine is LISTED
    assert LISTED.day == listed_prices().day
    assert LISTED.core_second * 3600 == pytest.approx(0.0472, abs=0.0001)
    assert LISTED.gib_second * 3600 == pytest.approx(0.0080, abs=0.0001)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_run_without_a_chosen_gpu_may_get_another_that_fits(model: Model) -> None:
    found = fallbacks(model, spec(model.name).experts, gpu=None)

    assert found
    assert all(GPUS[gpu].memory_gib >= GPUS[model.gpu].memory_gib for gpu in found)


def test_a_chosen_gpu_and_swapped_blocks_have_no_fallback() -> None:
    model, run = find_model(PAIR), spec(PAIR)
    swapping = spec(PAIR, blocks_to_swap="20")

    assert fallbacks(model, run.experts, gpu=None) == ("H200", "A100-80GB")
    assert fallbacks(model, run.experts, gpu="H100") == ()
    assert fallbacks(model, swapping.experts, gpu=None) == ()


def test_the_price_list_names_only_gpus_that_fit_the_least_expensive_first() -> None:
    model, run = find_model(PAIR), spec(PAIR)
    groups = plan_groups(report(clips=20, frames=81))

    found = estimate_each(model, groups, run.experts, prices=listed_prices())

    names = [one.gpu.name for one in found]
    assert [one.usd for one in found] == sorted(one.usd for one in found)
    assert set(names) == {name for name, gpu in GPUS.items() if gpu.memory_gib > 40}
    assert {one.gpu.name for one in found if one.is_measured} == {"H100", "H200"}
    (usual,) = (one for one in found if one.gpu.name == "H100")
    assert usual == estimate(model, groups, run.experts, gpu=None, prices=listed_prices())


def test_an_estimate_is_rough_if_steps_that_were_not_measured_take_much_of_it() -> None:
    def is_measured(
        model: str, groups: GroupPlan, settings: Mapping[str, str] | None = None
    ) -> bool:
        request = TrainRequest(model=model, dataset="annika", settings=settings or {})
        found, prices = find_model(model), listed_prices()
        experts = resolve_experts(request, found)
        return estimate(found, groups, experts, gpu="H100", prices=prices).is_measured

    guide, images = plan_groups(report()), plan_groups(report(clips=0), "480p")
    assert is_measured("wan21-t2v-14b", guide)
    assert is_measured("wan21-t2v-14b", guide, {"fp8": "no"})
    assert not is_measured("wan21-t2v-14b", images)  # 1,560 tokens each
    assert is_measured("wan21-t2v-14b", plan_groups(report(), "480p"))  # few of them
    assert not is_measured("wan21-t2v-14b", guide, {"blocks_to_swap": "20"})
    assert not is_measured("wan21-i2v-720p", guide)


def test_earlier_runs_here_change_time_and_cost() -> None:
    model, run = find_model("wan21-t2v-1-3b"), spec("wan21-t2v-1-3b")
    groups = plan_groups(report(), "480p")
    kind = StepKind(family="wan21-1.3b", gpu="A10", is_fp8=False)
    seen = StepTimes().corrected({kind: {1_560: 9.0, 9_360: 70.0, 18_720: 160.0}})

    before, after = (
        estimate(model, groups, run.experts, gpu=None, prices=listed_prices(), times=times)
        for times in (None, seen)
    )

    assert not before.is_measured
    assert after.is_measured
    assert after.seconds > 5 * before.seconds
    assert after.usd > 5 * before.usd


def test_a_fallback_costs_more() -> None:
    first, second = pair_of_twenty_clips("H100"), pair_of_twenty_clips("A100-80GB")

    assert second.seconds / first.seconds == pytest.approx(2.2, abs=0.1)
    assert second.usd / first.usd == pytest.approx(1.4, abs=0.05)
    assert second.gpu is GPUS["A100-80GB"]
