"""The cost of a run so far, on the GPUs that its attempts actually got."""

from datetime import datetime

from training.catalogue.models import find_model
from training.estimates.machine_requests import CACHE_REQUEST, training_request
from training.estimates.prices import PriceList
from training.runs.state import Run
from training.vocabulary import StageKey


def usd_spent(run: Run, prices: PriceList, now: datetime) -> float | None:
    """Return the dollars spent on GPU stages; None if no GPU was used or a price is missing."""
    costs = [stage_usd(run, key, prices, now) for key, stage in run.stages.items() if stage.gpu]
    known = [usd for usd in costs if usd is not None]
    return sum(known) if known and len(known) == len(costs) else None


def stage_usd(run: Run, key: StageKey, prices: PriceList, now: datetime) -> float | None:
    """Return the dollars spent on a stage's attempts; None if the price of a GPU is missing."""
    usd = 0.0
    for gpu, seconds in run.stage(key).gpu_times(now):
        rate = usd_per_second(run, key, gpu, prices)
        if rate is None:
            return None
        usd += rate * seconds
    return usd


def usd_per_second(run: Run, key: StageKey, gpu: str, prices: PriceList) -> float | None:
    """Return the dollars per second of a stage on `gpu`; None if the GPU has no price."""
    if gpu not in prices.usd_per_second:
        return None
    request = CACHE_REQUEST
    if key.expert is not None:
        settings = run.spec.expert(key.expert).settings
        request = training_request(find_model(run.spec.model), settings)
    return prices.container_usd_per_second(gpu, request)
