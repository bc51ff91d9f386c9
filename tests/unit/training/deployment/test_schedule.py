"""What the only schedule of a deployment starts, and when."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from training.deployment.schedule import due

DAY = datetime(2026, 11, 29, tzinfo=UTC)


class Claimed:
    """Claims in memory: each name goes to the first caller."""

    def __init__(self) -> None:
        self.names = set[str]()

    def __call__(self, name: str) -> bool:
        is_first = name not in self.names
        self.names.add(name)
        return is_first


def test_a_day_of_ticks_watches_the_bot_every_five_minutes_and_cleans_up_once() -> None:
    claim = Claimed()

    started = Counter(
        name for minute in range(24 * 60) for name in due(DAY + timedelta(minutes=minute), claim)
    )

    assert started == {"watch": 288, "clean_up": 1}


def test_the_clean_up_is_at_night() -> None:
    assert "clean_up" not in due(DAY.replace(hour=3, minute=16), Claimed())
    assert "clean_up" in due(DAY.replace(hour=3, minute=17), Claimed())
    assert "clean_up" not in due(DAY.replace(hour=15), Claimed())


def test_two_ticks_at_once_start_it_once() -> None:
    claim, at = Claimed(), DAY.replace(hour=3, minute=17)

    assert due(at, claim) == ["watch", "clean_up"]
    assert due(at, claim) == []


def test_a_late_tick_replaces_a_missed_one() -> None:
    claim = Claimed()
    due(DAY.replace(hour=3, minute=14), claim)

    found = due(DAY.replace(hour=3, minute=19, second=40), claim)

    assert found == ["watch", "clean_up"]
