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
