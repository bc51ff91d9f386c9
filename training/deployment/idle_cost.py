"""Monthly cost of a deployment while nobody trains."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from training.deployment.resources import BOT, FUNCTIONS, FunctionName, Resources, ServerResources
from training.estimates.prices import MachinePrices

MONTH_SECONDS = 30 * 24 * 3600
# Lifetime of a container that finds nothing to do: its start, the look, and the wait for another
# call. An estimate; not measured on Modal.
_LOOK_SECONDS = 8.0
# Seconds between two calls of the scheduled Functions.
_SCHEDULED: Mapping[FunctionName, float] = MappingProxyType(
    {"tick": 60.0, "watch": 300.0, "clean_up": 24 * 3600.0}
)


@dataclass(frozen=True, slots=True)
class IdleCost:
    """Cost of one part in 30 days, and the reason for it."""

    what: str
    usd: float
    why: str


def idle_costs(prices: MachinePrices) -> list[IdleCost]:
    """Return the monthly cost of an idle deployment, part by part; none of it is for GPUs."""
    found = [IdleCost("bot", _price(BOT, prices) * MONTH_SECONDS, f"always on: {_words(BOT)}")]
    for name, every_seconds in _SCHEDULED.items():
        resources = FUNCTIONS[name]
        awake = min(_LOOK_SECONDS / every_seconds, 1.0)
        found.append(
            IdleCost(
                name,
                _price(resources, prices) * MONTH_SECONDS * awake,
                f"about {_LOOK_SECONDS:.0f} s every {_interval(every_seconds)}: "
                f"{_words(resources)}",
            )
        )
    return found


def _price(resources: Resources | ServerResources, prices: MachinePrices) -> float:
    return resources.cpu * prices.core_second + resources.memory_gib * prices.gib_second


def _words(resources: Resources | ServerResources) -> str:
    return f"{resources.cpu:g} cores, {resources.memory_gib:g} GiB"


def _interval(seconds: float) -> str:
    if seconds >= 24 * 3600:
        return "day"
    minutes = round(seconds / 60)
    return "minute" if minutes == 1 else f"{minutes} minutes"
