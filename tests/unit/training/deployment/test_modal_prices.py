"""Live prices: read once a day, complete or not at all, with a logged reason if missing."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import modal.exception
import pytest

from training.catalogue.gpus import GPUS
from training.deployment.modal_prices import KEPT, RATES, REFUSED, ModalPrices
from training.estimates.prices import CPU_RATE, MEMORY_RATE, STORAGE_RATE, listed_prices

ENOUGH = 30.0  # seconds
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
MACHINE = (CPU_RATE, MEMORY_RATE, STORAGE_RATE)
FULL = {name: Decimal(number) for number, name in enumerate((*RATES.values(), *MACHINE), start=1)}


@dataclass
class Account:
    """The client's answer, how often it was asked, and the time."""

    rates: Mapping[str, Decimal] = field(default_factory=lambda: FULL)
    error: Exception | None = None
    asked: int = 0
    at: datetime = NOON

    def read(self) -> Mapping[str, Decimal]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.rates

    def prices(self) -> ModalPrices:
        return ModalPrices(self.read, lambda: self.at, wait_seconds=ENOUGH)


def test_every_gpu_has_its_rate() -> None:
    assert list(RATES) == list(GPUS)


def test_rates_an_hour_become_dollars_a_second_of_today() -> None:
    account = Account({**FULL, RATES["H200"]: Decimal("4.54"), CPU_RATE: Decimal("0.0473")})

    found = account.prices().live()

    assert found is not None
    assert found.usd_per_second["H200"] == pytest.approx(0.001261, abs=1e-6)
    assert set(found.usd_per_second) == set(GPUS)
    assert found.machine.core_second == pytest.approx(0.0473 / 3600)
    assert (found.day, found.is_live) == (date(2026, 11, 25), True)


def test_prices_are_asked_for_once_a_day() -> None:
    account = Account()
    prices = account.prices()

    first = prices.live()
    account.at += KEPT - timedelta(seconds=1)
    kept = prices.live()
    account.at += timedelta(seconds=1)
    again = prices.live()

    assert kept is first
    assert account.asked == 2
    assert again is not None
    assert again.day == date(2026, 11, 26)


@pytest.mark.parametrize(
    "error",
    [
        modal.exception.PermissionDeniedError("only owners see the rates"),
        modal.exception.UnimplementedError("no such call"),
        modal.exception.AuthError("Token missing"),
        modal.exception.ConnectionError("Could not connect to the Modal server."),
        AttributeError("'Workspace' object has no attribute 'billing'"),
    ],
)
def test_a_refusal_is_logged_and_the_dated_list_is_used(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    account = Account(error=error)
    prices = account.prices()

    assert prices.live() is None
    assert prices.prices() is listed_prices()
    assert account.asked == 1
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(error) in record.message
    assert "list of 2026-07-01" in record.message


def test_prices_are_asked_for_again_soon_after_a_refusal() -> None:
    account = Account(error=modal.exception.ServiceError("down"))
    prices = account.prices()
    prices.live()

    account.error = None
    account.at += REFUSED - timedelta(seconds=1)
    early = prices.live()
    account.at += timedelta(seconds=1)

    assert early is None
    assert prices.prices().is_live


def test_callers_do_not_wait_for_a_silent_modal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = threading.Event()
    account = Account()

    def read() -> Mapping[str, Decimal]:
        answers.wait(ENOUGH)
        return account.read()

    prices = ModalPrices(read, lambda: NOON, wait_seconds=0.01)
    early = [prices.prices(), prices.prices()]
    answers.set()
    prices.wait_seconds = ENOUGH
    late = prices.prices()

    assert early == [listed_prices()] * 2
    assert "not sent its rates yet" in caplog.text
    assert late.is_live
    assert account.asked == 1


@pytest.mark.parametrize("rate", [None, Decimal(0), Decimal(-1), Decimal("NaN")])
def test_live_and_dated_prices_are_never_mixed(
    rate: Decimal | None, caplog: pytest.LogCaptureFixture
) -> None:
    rates = {**FULL, RATES["A10"]: rate}
    account = Account({name: value for name, value in rates.items() if value is not None})

    assert account.prices().live() is None
    assert "gpu_hour_cost_a10g" in caplog.text
