"""Modal's prices of GPUs, cores, memory and storage: from a dated list, or live."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from training.catalogue.gpus import GPUS
from training.estimates.machine_requests import MachineRequest

# The prices are those of modal.com/pricing on this day. Copies of that page from May and June 2026
# have the same prices for the H100, the A100-80GB, the L40S and cores.
LISTED_ON = date(2026, 7, 1)
HOUR_SECONDS = 3600
# Names of Modal's rates, in dollars per hour; the storage rate is in dollars per month.
CPU_RATE, MEMORY_RATE = "cpu_hour_cost", "mem_gib_hour_cost"
STORAGE_RATE = "volume_storage_gib_month_cost"
FREE_GIB = 1024  # free storage in a workspace's Volumes


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePrices:
    """Prices in dollars: per second for a core or a GiB of memory, per month for a GiB stored.

    The first `FREE_GIB` stored in Volumes are free.
    """

    core_second: float
    gib_second: float
    gib_month: float
    day: date
    is_live: bool = False

    def usd_per_second(self, request: MachineRequest) -> float:
        """Return the dollars per second of a container's cores and memory, without a GPU."""
        return request.cores * self.core_second + request.memory_gib * self.gib_second


LISTED = MachinePrices(core_second=0.0000131, gib_second=0.00000222, gib_month=0.09, day=LISTED_ON)


def live_machine_prices(rates: Mapping[str, float], day: date) -> MachinePrices | None:
    """Return a workspace's prices from its `rates`; None if a rate is missing."""
    if not {CPU_RATE, MEMORY_RATE, STORAGE_RATE} <= set(rates):
        return None
    return MachinePrices(
        core_second=rates[CPU_RATE] / HOUR_SECONDS,
        gib_second=rates[MEMORY_RATE] / HOUR_SECONDS,
        gib_month=rates[STORAGE_RATE],
        day=day,
        is_live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Dollars per second for every known GPU, and the prices of cores, memory and storage.

    Attributes:
        day: The day on which the prices were read.
        is_live: Whether they are the workspace's own prices, read from Modal.
    """

    usd_per_second: Mapping[str, float]
    machine: MachinePrices = LISTED
    day: date
    is_live: bool = False

    def usd_per_hour(self, gpu: str) -> float:
        return self.usd_per_second[gpu] * HOUR_SECONDS

    def container_usd_per_second(self, gpu: str, request: MachineRequest) -> float:
        """Return the cost of a container with this GPU, cores and memory, in dollars per second."""
        return self.usd_per_second[gpu] + self.machine.usd_per_second(request)


_LISTED = PriceList(
    usd_per_second=MappingProxyType({gpu.name: gpu.listed_usd for gpu in GPUS.values()}),
    day=LISTED_ON,
)


def listed_prices() -> PriceList:
    return _LISTED
