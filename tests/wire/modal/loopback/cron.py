"""Cron expressions and the minutes that they match."""

from dataclasses import dataclass
from datetime import datetime

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True)
class Cron:
    """A parsed expression of five fields.

    Attributes:
        is_any_day: Whether the day of the month is `*`.
        is_any_weekday: Whether the day of the week is `*`.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_any_day: bool
    is_any_weekday: bool

    @classmethod
    def parse(cls, text: str) -> "Cron":
        """Parse an expression.

        Raises:
            ValueError: It is none.
        """
        fields = text.split()
        if len(fields) != 5:
            raise ValueError(f"A cron expression has five fields: {text!r}")
        minute, hour, day, month, weekday = fields
        return cls(
            minutes=_values(minute, 0, 59),
            hours=_values(hour, 0, 23),
            days=_values(day, 1, 31),
            months=_values(month, 1, 12, MONTHS, 1),
            weekdays=frozenset(value % 7 for value in _values(weekday, 0, 7, DAYS)),
            is_any_day=day.startswith("*"),
            is_any_weekday=weekday.startswith("*"),
        )

    def matches(self, at: datetime) -> bool:
        """Return whether a minute is named; of two given days one is enough, as in cron(8)."""
        on_day = at.day in self.days
        on_weekday = at.isoweekday() % 7 in self.weekdays
        either = not (self.is_any_day or self.is_any_weekday)
        is_today = (on_day or on_weekday) if either else (on_day and on_weekday)
        return (
            at.minute in self.minutes
            and at.hour in self.hours
            and at.month in self.months
            and is_today
        )


def _values(
    field: str, low: int, high: int, names: tuple[str, ...] = (), first: int = 0
) -> frozenset[int]:
    found: set[int] = set()
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        start, _, end = span.partition("-")
        if span == "*":
            bounds = low, high
        elif end or not step:
            bounds = _number(start, names, first), _number(end or start, names, first)
        else:
            bounds = _number(start, names, first), high
        if not low <= bounds[0] <= bounds[1] <= high or not (step or "1").isdigit():
            raise ValueError(f"{field!r} is no field of a cron expression")
        found |= set(range(bounds[0], bounds[1] + 1, max(1, int(step or 1))))
    return frozenset(found)


def _number(text: str, names: tuple[str, ...], first: int) -> int:
    if text in names:
        return names.index(text) + first
    if not text.isdigit():
        raise ValueError(f"{text!r} is no number of a cron expression")
    return int(text)
