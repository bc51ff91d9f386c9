"""The cost of an idle deployment, computed from its deployed resources."""

from datetime import date

import pytest

from bot.messages.installation import idle_text, next_text
from training.deployment.idle_cost import MONTH_SECONDS, idle_costs
from training.deployment.resources import BOT, BOT_FUNCTIONS, FUNCTIONS
from training.estimates.prices import (
    CPU_RATE,
    LISTED,
    MEMORY_RATE,
    STORAGE_RATE,
    live_machine_prices,
)

RATES = {CPU_RATE: 0.036, MEMORY_RATE: 0.0036, STORAGE_RATE: 0.1}
TODAY = date(2026, 11, 25)


def test_only_the_bot_is_billed_every_second() -> None:
    costs = {cost.what: cost.usd for cost in idle_costs(LISTED)}

    second = BOT.cpu * LISTED.core_second + BOT.memory_gib * LISTED.gib_second
    assert costs["bot"] == pytest.approx(second * MONTH_SECONDS)
    assert sum(costs.values()) < costs["bot"] * 1.5


def test_no_scheduled_function_has_a_gpu() -> None:
    scheduled = [FUNCTIONS[name] for name in ("tick", "watch", "clean_up")]

    assert {cost.what for cost in idle_costs(LISTED)} == {"bot", "tick", "watch", "clean_up"}
    assert not any(resources.gpu for resources in scheduled)
    assert set(FUNCTIONS) >= BOT_FUNCTIONS


def test_live_rates_are_per_hour() -> None:
    prices = live_machine_prices(RATES, TODAY)

    assert prices is not None
    assert (prices.core_second, prices.gib_second) == (pytest.approx(1e-5), pytest.approx(1e-6))
    assert (prices.gib_month, prices.day, prices.is_live) == (0.1, TODAY, True)


@pytest.mark.parametrize("missing", RATES)
def test_rates_with_other_names_give_no_prices(missing: str) -> None:
    rates = {name: price for name, price in RATES.items() if name != missing}

    assert live_machine_prices(rates, TODAY) is None


def test_the_text_names_the_day_of_the_prices() -> None:
    live = live_machine_prices(RATES, TODAY)
    assert live is not None

    assert "the list prices of 2026-07-01" in idle_text(idle_costs(LISTED), LISTED)
    assert "this workspace's prices" in idle_text(idle_costs(live), live)


def test_without_a_discord_token_the_link_has_a_placeholder() -> None:
    text = next_text(None, "team")

    assert "client_id=APPLICATION_ID" in text
    assert "General Information" in text
