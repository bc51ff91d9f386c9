"""The GPUs that a run can choose: one list, and the estimate on each."""

from dataclasses import replace
from datetime import date
from types import MappingProxyType

import pytest

from bot.messages.runs.plan_costs import priced
from tests.specs import groups, spec
from training.catalogue.gpus import GPUS, find_gpu, require_same_gpu
from training.catalogue.models import MODELS, find_model
from training.deployment.resources import FUNCTIONS
from training.errors import NotFoundError, RequestError
from training.estimates.prices import LISTED, PriceList, listed_prices
from training.estimates.time_and_cost import Estimate, estimate

DOUBLE = PriceList(
    machine=replace(LISTED, core_second=2 * LISTED.core_second, gib_second=2 * LISTED.gib_second),
    usd_per_second=MappingProxyType({name: 2 * gpu.listed_usd for name, gpu in GPUS.items()}),
    day=date(2026, 11, 25),
    is_live=True,
)


def estimated(gpu: str | None, prices: PriceList | None = None) -> Estimate:
    run = spec("wan22-t2v-vanilla")
    return estimate(
        find_model(run.model), groups(), run.experts, gpu=gpu, prices=prices or listed_prices()
    )


def test_every_deployed_priced_and_default_gpu_is_in_the_list() -> None:
    deployed = {gpu.rstrip("!") for resources in FUNCTIONS.values() for gpu in resources.gpu}

    assert set(GPUS) == set(listed_prices().usd_per_second)
    assert deployed <= set(GPUS)
    assert {model.gpu for model in MODELS} <= set(GPUS)


@pytest.mark.parametrize("text", ["A100-80GB", "a100-80gb", " A100-80gb "])
def test_a_gpu_is_found_in_any_case(text: str) -> None:
    assert find_gpu(text).name == "A100-80GB"


@pytest.mark.parametrize("text", ["GTX", "A100", "H100!", "H100:2", "T4", "", "x" * 500])
def test_an_unknown_gpu_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(NotFoundError, match="no GPU called") as caught:
        find_gpu(text)

    assert len(caught.value.cause) < 80
    assert all(name in caught.value.fix for name in GPUS)


def test_a_machine_with_one_gpu_refuses_others() -> None:
    require_same_gpu("h100", "H100")

    with pytest.raises(RequestError, match=r"has an H100.*cannot use an H200"):
        require_same_gpu("H200", "H100")


@pytest.mark.parametrize("gpu", GPUS)
def test_every_gpu_can_be_estimated(gpu: str) -> None:
    found, usual = estimated(gpu), estimated("H100")

    assert found.gpu.name == gpu
    assert found.is_measured == (gpu in ("H100", "H200"))
    assert (found.seconds > usual.seconds) == (GPUS[gpu].step_factor > 1)


def test_without_a_chosen_gpu_the_models_own_is_estimated() -> None:
    assert estimated(None) == estimated("H100")


def test_the_cost_follows_the_prices_and_the_time_does_not() -> None:
    listed, live = estimated("H200"), estimated("H200", DOUBLE)

    assert live.usd == pytest.approx(2 * listed.usd)
    assert live.seconds == listed.seconds
    assert live.prices is DOUBLE


def test_a_price_names_its_day() -> None:
    assert priced("H200", listed_prices()) == "H200 ($4.54/h, list of 2026-07-01)"
    assert priced("L4", DOUBLE) == "L4 ($1.60/h, live)"


def test_a_wrong_gpu_is_answered_with_the_nearest_ones_first() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_gpu("h00")

    assert caught.value.fix.startswith("Did you mean H200 or H100? Choose one of: ")
