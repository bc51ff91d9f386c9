"""Reads the Modal workspace's own prices, at most once a day."""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

import modal
import modal.exception

from training.estimates.prices import (
    CPU_RATE,
    HOUR_SECONDS,
    LISTED_ON,
    MEMORY_RATE,
    STORAGE_RATE,
    PriceList,
    listed_prices,
    live_machine_prices,
)
from training.pipeline.runtime import now

logger = logging.getLogger(__name__)

# Each GPU's name in Modal's rates, which are in dollars per hour. The rates call the A10 "A10G".
RATES: Mapping[str, str] = MappingProxyType(
    {
        "B200": "gpu_hour_cost_b200",
        "H200": "gpu_hour_cost_h200",
        "H100": "gpu_hour_cost_h100",
        "A100-80GB": "gpu_hour_cost_a100_80gb",
        "A100-40GB": "gpu_hour_cost_a100_40gb",
        "L40S": "gpu_hour_cost_l40s",
        "A10": "gpu_hour_cost_a10g",
        "L4": "gpu_hour_cost_l4",
    }
)
KEPT = timedelta(days=1)
# After a failure, do not ask Modal again for this long, so that callers need not wait each time.
REFUSED = timedelta(minutes=10)
# How long a caller waits for Modal. Discord allows 3 s for suggestions, but Modal's client takes a
# minute to notice that Modal is down.
WAIT_SECONDS = 1.5


def workspace_rates() -> Mapping[str, Decimal]:
    return modal.Workspace.from_context().billing.rates()


class ModalPrices:
    """Live prices if Modal reports them, else those of the public list; thread-safe.

    A caller waits up to `wait_seconds` for Modal. An answer that comes later serves the next
    caller.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[str, Decimal]] = workspace_rates,
        clock: Callable[[], datetime] = now,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self.wait_seconds = wait_seconds
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._newest: PriceList | None = None
        self._due: datetime | None = None

    def prices(self) -> PriceList:
        """Return the live prices, or else Modal's dated public list."""
        return self.live() or listed_prices()

    def live(self) -> PriceList | None:
        """Return the workspace's prices, at most a day old; None if unavailable."""
        asking = self._latest_request()
        asking.join(self.wait_seconds)
        if asking.is_alive():
            logger.warning("Modal has not sent its rates yet; using the list of %s", LISTED_ON)
            return None
        return self._newest

    def _latest_request(self) -> threading.Thread:
        with self._lock:
            is_due = self._due is None or self._clock() >= self._due
            if self._asking is None or (is_due and not self._asking.is_alive()):
                self._newest = None
                self._asking = threading.Thread(target=self._ask, name="prices", daemon=True)
                self._asking.start()
            return self._asking

    def _ask(self) -> None:
        at = self._clock()
        self._newest = self._answer(at)
        self._due = at + (KEPT if self._newest is not None else REFUSED)

    def _answer(self, at: datetime) -> PriceList | None:
        try:
            rates = dict(self._read())
        # AttributeError: the client lacks this call. ArithmeticError: a rate is not a number.
        except (modal.exception.Error, AttributeError, ArithmeticError, OSError) as error:
            logger.warning("Modal sent no rates; using the list of %s: %r", LISTED_ON, error)
            return None
        needed = (*RATES.values(), CPU_RATE, MEMORY_RATE, STORAGE_RATE)
        unusable = [name for name in needed if not _is_price(rates.get(name))]
        if unusable:
            names = ", ".join(unusable)
            logger.warning("Modal sent no rate %s; using the list of %s", names, LISTED_ON)
            return None
        hourly = {name: float(rates[name]) for name in needed}
        machine = live_machine_prices(hourly, at.date())
        assert machine is not None  # all needed rates were checked above
        by_second = {gpu: hourly[name] / HOUR_SECONDS for gpu, name in RATES.items()}
        logger.info("read the prices of %d GPUs from Modal", len(by_second))
        return PriceList(
            usd_per_second=MappingProxyType(by_second),
            machine=machine,
            day=at.date(),
            is_live=True,
        )


def _is_price(rate: Decimal | None) -> bool:
    return rate is not None and rate.is_finite() and rate > 0
