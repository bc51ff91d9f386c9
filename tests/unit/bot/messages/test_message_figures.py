"""Numbers and times in words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages.figures import about, and_list, bar, duration, loss, percent, rate


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (45.2, "45 s"),
        (59.7, "1 min"),
        (12 * 60, "12 min"),
        (3599, "1 h"),
        (7500, "2 h 5 min"),
        (86_390, "1 day"),
        (3 * 86_400 + 4 * 3600, "3 days 4 h"),
    ],
)
def test_durations_are_worded_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_rough_times_do_not_count_seconds() -> None:
    assert about(30) == "less than a minute"
    assert about(700) == "about 12 min"


@pytest.mark.parametrize(
    ("value", "words"), [(8e-5, "8e-5"), (1e-4, "1e-4"), (7.94e-5, "7.94e-5"), (0.01, "0.01")]
)
def test_rate_is_written_as_it_is_typed(value: float, words: str) -> None:
    assert rate(value) == words
    assert float(words) == pytest.approx(value)


def test_a_nan_loss_is_called_not_a_number() -> None:
    assert loss(float("nan")) == "not a number"
    assert loss(0.07123) == "0.0712"
    assert loss(2.5e-7) == "2.50e-07"


@settings(deadline=None)
@given(done=st.integers(-10, 10**7), total=st.integers(-10, 10**6))
def test_bar_is_full_only_when_all_is_done(done: int, total: int) -> None:
    text = bar(done, total)

    assert text.count("▰") + text.count("▱") == 12
    assert ("100 %" in text) == ("▱" not in text) == (0 < total <= done)


def test_percentage_is_exact() -> None:
    assert percent(29, 100) == "29 %"


def test_lists_read_as_english() -> None:
    assert and_list([]) == ""
    assert and_list(["a"]) == "a"
    assert and_list(["a", "b"]) == "a and b"
    assert and_list(["a", "b", "c"]) == "a, b and c"
