"""Prices on Modal of GPUs, cores, memory and storage: from a dated list, or live."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from training.catalogue.gpus import GPUS

LISTED_ON = date(2026, 7, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Dollars a second for every known GPU.

    Attributes:
        day: The day they were read.
        is_live: Whether they are the account's own rates, read from Modal.
    """

    usd_per_second: Mapping[str, float]
    day: date
    is_live: bool = False

    def usd_per_hour(self, gpu: str) -> float:
        """Return dollars an hour for one GPU."""
        return self.usd_per_second[gpu] * 3600


_LISTED = PriceList(
    usd_per_second=MappingProxyType({gpu.name: gpu.listed_usd for gpu in GPUS.values()}),
    day=LISTED_ON,
)


def listed_prices() -> PriceList:
    """Return Modal's public price list of `LISTED_ON`."""
    return _LISTED


HOUR_SECONDS = 3600
# Names of Modal's rates, in dollars an hour; storage is per month.
CPU_RATE, MEMORY_RATE = "cpu_hour_cost", "mem_gib_hour_cost"
STORAGE_RATE = "volume_storage_gib_month_cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePrices:
    """Dollars for everything but GPUs.

    Attributes:
        core_second: Price of a core for a second.
        gib_second: Price of a GiB of memory for a second.
        gib_month: Price of a GiB in a Volume for a month; the first 1,024 GiB are free.
        day: The day they were read.
        is_live: Whether they are the workspace's own rates.
    """

    core_second: float
    gib_second: float
    gib_month: float
    day: date
    is_live: bool = False


LISTED = MachinePrices(core_second=0.0000131, gib_second=0.00000222, gib_month=0.09, day=LISTED_ON)


def live_machine_prices(rates: Mapping[str, float], day: date) -> MachinePrices | None:
    """Return the prices of a workspace, None if a rate is missing."""
    if not {CPU_RATE, MEMORY_RATE, STORAGE_RATE} <= set(rates):
        return None
    return MachinePrices(
        core_second=rates[CPU_RATE] / HOUR_SECONDS,
        gib_second=rates[MEMORY_RATE] / HOUR_SECONDS,
        gib_month=rates[STORAGE_RATE],
        day=day,
        is_live=True,
    )
