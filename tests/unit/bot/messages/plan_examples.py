"""Plans of runs for tests of messages, on the dataset of `tests.specs`."""

from datetime import datetime
from typing import Any

from tests.specs import groups, report
from tests.unit.bot.messages.run_examples import NOW, START
from training.catalogue.gpus import GPUS
from training.catalogue.models import find_model
from training.estimates.prices import PriceList, listed_prices
from training.estimates.time_and_cost import Estimate, estimate, estimate_each, fallbacks
from training.operations.run_plans import RunPlan
from training.ports import GpuLine
from training.runs.spec import RunSpec
from training.runs.unusual_settings import doubts

FREE = GpuLine(running=0, waiting=0, slots=2)


def estimated(seconds: float, usd: float, gpu: str, *, live: bool = False) -> Estimate:
    listed = listed_prices()
    today = PriceList(usd_per_second=listed.usd_per_second, day=START.date(), is_live=True)
    is_measured = gpu in ("H100", "H200")
    return Estimate(seconds, usd, GPUS[gpu], today if live else listed, is_measured)


def a_plan(
    spec: RunSpec, found: Estimate | None = None, *, at: datetime = NOW, **changes: Any
) -> RunPlan:
    """Return the plan of a billed run; `found` is the estimate for the GPU that it asks for."""
    model = find_model(spec.model)
    work, prices = (model, groups(), spec.experts), listed_prices()
    others = fallbacks(model, spec.experts, gpu=spec.gpu)
    plan: dict[str, Any] = {
        "spec": spec,
        "model": model,
        "report": report(),
        "groups": groups(),
        "remarks": (),
        "doubts": doubts(spec, model),
        "estimate": found or estimate(*work, gpu=spec.gpu, prices=prices),
        "fallbacks": tuple(estimate(*work, gpu=gpu, prices=prices) for gpu in others),
        "price_list": estimate_each(*work, prices=prices),
        "line": FREE,
        "is_billed": True,
        "at": at,
    }
    return RunPlan(**(plan | changes))
