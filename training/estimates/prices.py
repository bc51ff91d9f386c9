"""What a second of each GPU costs, and how it is known: from a dated list, or asked for today."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from training.catalogue.gpus import GPUS

LISTED_ON = date(2026, 7, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Dollars a second of every known GPU.

    Attributes:
        day: When they were read.
        is_live: Whether they are the rates of the account that pays, asked of Modal itself.
    """

    usd_per_second: Mapping[str, float]
    day: date
    is_live: bool = False

    def usd_per_hour(self, gpu: str) -> float:
        """Return the dollars an hour of one GPU."""
        return self.usd_per_second[gpu] * 3600


_LISTED = PriceList(
    usd_per_second=MappingProxyType({gpu.name: gpu.listed_usd for gpu in GPUS.values()}),
    day=LISTED_ON,
)


def listed_prices() -> PriceList:
    """Return Modal's public list of the day on which it was copied."""
    return _LISTED


HOUR_SECONDS = 3600
# What the client's answer calls them, in dollars an hour, for storage a month.
CPU_RATE, MEMORY_RATE = "cpu_hour_cost", "mem_gib_hour_cost"
STORAGE_RATE = "volume_storage_gib_month_cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePrices:
    """Dollars for what has no GPU.

    Attributes:
        core_second: For a second of a core.
        gib_second: For a second of a GiB of memory.
        gib_month: For a month of a GiB in a Volume; the first 1,024 GiB cost nothing.
        day: When they were read.
        is_live: Whether they are those of the workspace that pays.
    """

    core_second: float
    gib_second: float
    gib_month: float
    day: date
    is_live: bool = False


LISTED = MachinePrices(core_second=0.0000131, gib_second=0.00000222, gib_month=0.09, day=LISTED_ON)


def live_machine_prices(rates: Mapping[str, float], day: date) -> MachinePrices | None:
    """Return what a workspace pays by its own rates, None where these have other names."""
    if not {CPU_RATE, MEMORY_RATE, STORAGE_RATE} <= set(rates):
        return None
    return MachinePrices(
        core_second=rates[CPU_RATE] / HOUR_SECONDS,
        gib_second=rates[MEMORY_RATE] / HOUR_SECONDS,
        gib_month=rates[STORAGE_RATE],
        day=day,
        is_live=True,
    )
