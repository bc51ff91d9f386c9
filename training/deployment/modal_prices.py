"""The Modal workspace's own GPU rates, read at most once a day."""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

import modal
import modal.exception

from training.estimates.prices import LISTED_ON, PriceList, listed_prices
from training.pipeline.runtime import now

logger = logging.getLogger(__name__)

# Names of the rates, in dollars an hour; Modal calls an A10 A10G here.
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
# How long a failure is remembered, so that later callers need not wait for another.
REFUSED = timedelta(minutes=10)
# Discord allows 3 s for suggestions; the client takes a minute to notice that Modal is down.
WAIT_SECONDS = 1.5


def workspace_rates() -> Mapping[str, Decimal]:
    """Return all rates of the workspace that the token belongs to."""
    return modal.Workspace.from_context().billing.rates()


class ModalPrices:
    """Live prices if the account offers them; thread-safe.

    Attributes:
        wait_seconds: How long a caller waits for Modal; a later answer is kept for the next one.
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
        """Return the workspace's rates, at most a day old; None if unavailable."""
        asking = self._latest_question()
        asking.join(self.wait_seconds)
        if asking.is_alive():
            logger.warning("Modal has not named its rates yet, the list of %s is used", LISTED_ON)
            return None
        return self._newest

    def _latest_question(self) -> threading.Thread:
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
            logger.warning("Modal gave no rates, the list of %s is used: %r", LISTED_ON, error)
            return None
        unusable = [name for name in RATES.values() if not _is_price(rates.get(name))]
        if unusable:
            names = ", ".join(unusable)
            logger.warning("Modal gave no rate %s, the list of %s is used", names, LISTED_ON)
            return None
        by_second = {gpu: float(rates[name]) / 3600 for gpu, name in RATES.items()}
        logger.info("the prices of %d GPUs were read from Modal", len(by_second))
        return PriceList(usd_per_second=MappingProxyType(by_second), day=at.date(), is_live=True)


def _is_price(rate: Decimal | None) -> bool:
    return rate is not None and rate.is_finite() and rate > 0
