"""Monthly cost of a deployment while nobody trains."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from training.deployment.resources import BOT, FUNCTIONS, FunctionName, Resources, ServerResources
from training.deployment.schedule import PERIODS
from training.estimates.prices import MachinePrices

MONTH_SECONDS = 30 * 24 * 3600
# How long a container runs if it finds nothing to do: start, one check, and the idle time before it
# ends. An estimate; not measured on Modal.
_LOOK_SECONDS = 8.0
# Seconds between two calls of each scheduled Function.
_SCHEDULED: Mapping[FunctionName, float] = MappingProxyType(
    {"tick": 60.0, **{name: every.total_seconds() for name, (every, _first) in PERIODS.items()}}
)


@dataclass(frozen=True, slots=True)
class IdleCost:
    """The cost of one part of a deployment for 30 days; `why` describes what is billed."""

    what: str
    usd: float
    why: str


def idle_costs(prices: MachinePrices) -> list[IdleCost]:
    """Return the monthly cost of each part of an idle deployment, which uses no GPU."""
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
