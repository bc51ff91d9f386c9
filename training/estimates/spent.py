"""The cost of a run so far: recorded costs of ended attempts, and the others up to now."""

from datetime import datetime

from training.estimates.machine_requests import stage_request
from training.estimates.prices import PriceList
from training.runs.events import StageCost
from training.runs.spec import RunSpec
from training.runs.state import AttemptTime, Run
from training.vocabulary import StageKey, device_of


def usd_spent(run: Run, prices: PriceList | None, now: datetime) -> float | None:
    """Return the dollars spent on all stages; None if none has run or a price is missing."""
    keys = {*run.stages, *(key for key, _ in run.costs)}
    costs = [stage_usd(run, key, prices, now) for key in sorted(keys, key=str)]
    known = [usd for usd in costs if usd is not None]
    has_run = bool(run.costs) or any(stage.times(now) for stage in run.stages.values())
    return sum(known) if has_run and len(known) == len(costs) else None


def stage_usd(run: Run, key: StageKey, prices: PriceList | None, now: datetime) -> float | None:
    """Return the dollars spent on a stage's attempts; None if a price is missing.

    Each attempt counts once: at its recorded cost if it has one, otherwise at today's `prices`.
    """
    recorded = {number: cost for (stage, number), cost in run.costs.items() if stage == key}
    others = [one for one in run.stage(key).times(now) if one.attempt not in recorded]
    costs = [
        *map(_recorded_usd, recorded.values()),
        *(_usd(run.spec, key, one, prices) for one in others),
    ]
    known = [usd for usd in costs if usd is not None]
    return sum(known) if len(known) == len(costs) else None


def _recorded_usd(cost: StageCost) -> float | None:
    return None if cost.usd_per_second is None else cost.usd_per_second * cost.seconds


def _usd(spec: RunSpec, key: StageKey, one: AttemptTime, prices: PriceList | None) -> float | None:
    rate = usd_per_second(spec, key, one.gpu, prices) if prices is not None else None
    return None if rate is None else rate * one.seconds


def usd_per_second(
    spec: RunSpec, key: StageKey, gpu: str | None, prices: PriceList
) -> float | None:
    """Return the dollars per second of a stage, with its cores and memory.

    Args:
        spec: The run.
        key: The stage.
        gpu: The GPU that the stage got; None if it has none or the GPU is unknown.
        prices: The prices.

    Returns:
        None if the stage needs a GPU, and that GPU is unknown or has no price.
    """
    request = stage_request(spec, key)
    if device_of(key.stage) == "cpu":
        return prices.machine.usd_per_second(request)
    if gpu is None or gpu not in prices.usd_per_second:
        return None
    return prices.container_usd_per_second(gpu, request)
