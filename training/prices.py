"""What Modal charges: a dated copy of its public list, and what a workspace is told live."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from training.cost import PRICES, PRICES_DATE

HOUR_SECONDS = 3600
# The copied list has rounded prices a second, the service exact ones an hour.
_ROUNDING = 0.01
_CPU, _MEMORY, _STORAGE = "cpu_hour_cost", "mem_gib_hour_cost", "volume_storage_gib_month_cost"
# What `modal billing rates --json` calls them, as of 2026-09.
_CARDS: Mapping[str, str] = MappingProxyType(
    {
        "B200": "gpu_hour_cost_b200",
        "H200": "gpu_hour_cost_h200",
        "H100": "gpu_hour_cost_h100",
        "A100-80GB": "gpu_hour_cost_a100_80gb",
        "L40S": "gpu_hour_cost_l40s",
        "A10": "gpu_hour_cost_a10g",
        "L4": "gpu_hour_cost_l4",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Dollars for what is used.

    Attributes:
        of: Of when they are.
        gpu: For a second of each card.
        cpu: For a second of a core.
        memory: For a second of a GiB of memory.
        storage: For a month of a GiB in a Volume; the first 1,024 GiB cost nothing.
    """

    of: str
    gpu: Mapping[str, float]
    cpu: float
    memory: float
    storage: float


PUBLIC = Prices(of=PRICES_DATE, gpu=PRICES, cpu=0.0000131, memory=0.00000222, storage=0.09)


def live_prices(rates: Mapping[str, float]) -> Prices | None:
    """Return what a workspace pays now, None where it names its prices in other words.

    Args:
        rates: Dollars an hour, for storage a month, by the service's own names.
    """
    if not {_CPU, _MEMORY, _STORAGE, *_CARDS.values()} <= set(rates):
        return None
    return Prices(
        of="now",
        gpu={card: rates[name] / HOUR_SECONDS for card, name in _CARDS.items()},
        cpu=rates[_CPU] / HOUR_SECONDS,
        memory=rates[_MEMORY] / HOUR_SECONDS,
        storage=rates[_STORAGE],
    )


def changed(before: Prices, after: Prices) -> list[str]:
    """Return what has another price than before, with both."""
    found = [
        f"{card} ${old * HOUR_SECONDS:.2f} -> ${after.gpu[card] * HOUR_SECONDS:.2f} an hour"
        for card, old in before.gpu.items()
        if not _is_close(old, after.gpu[card])
    ]
    others = {"CPU core": (before.cpu, after.cpu), "GiB of memory": (before.memory, after.memory)}
    for name, (old, new) in others.items():
        if not _is_close(old, new):
            found.append(f"{name} ${old * HOUR_SECONDS:.4f} -> ${new * HOUR_SECONDS:.4f} an hour")
    if not _is_close(before.storage, after.storage):
        found.append(f"GiB in a Volume ${before.storage:.2f} -> ${after.storage:.2f} a month")
    return found


def _is_close(one: float, other: float) -> bool:
    return abs(one - other) <= _ROUNDING * max(one, other)
