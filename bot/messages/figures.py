"""Numbers as the texts show them: counts, rates, losses and bars."""

import math
from collections.abc import Sequence

BAR_WIDTH = 12
_PLAIN_RATE = 1e-3


def count(number: int, one: str, many: str = "") -> str:
    """Return `1 clip` or `1,512 clips`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def rate(value: float) -> str:
    """Return a learning rate as it is typed: `8e-5`, `0.001`."""
    if value >= _PLAIN_RATE or value == 0:
        return f"{value:g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def loss(value: float) -> str:
    """Return a loss with the digits that mean something."""
    if not math.isfinite(value):
        return "not a number"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"


def bar(done: int, total: int) -> str:
    """Return a bar and a percentage; both are full only when all is done."""
    filled = _parts(BAR_WIDTH, done, total)
    return f"{'▰' * filled}{'▱' * (BAR_WIDTH - filled)} {percent(done, total)}"


def percent(done: int, total: int) -> str:
    """Return how much is done; 100 % only when all is."""
    return f"{_parts(100, done, total)} %"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def _parts(whole: int, done: int, total: int) -> int:
    return min(max(done * whole // total, 0), whole) if total > 0 else 0


_MINUTE = 60
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def duration(seconds: float) -> str:
    """Return a time as people say it: `45 s`, `12 min`, `2 h 5 min`, `3 days 4 h`."""
    if round(seconds) < _MINUTE:
        return f"{max(round(seconds), 0)} s"
    minutes = round(seconds / _MINUTE)
    if minutes < _MINUTE:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    named = "1 day" if days == 1 else f"{days} days"
    return f"{named} {hours} h" if hours else named


def about(seconds: float) -> str:
    """Return a time that is only roughly known, and that does not change with every second."""
    if seconds < _MINUTE:
        return "less than a minute"
    return f"about {duration(seconds)}"


def size(size_bytes: int) -> str:
    """Return a size as people say it: `812 KiB`, `151 MiB`, `1.2 GiB`."""
    if size_bytes < 1024:
        return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"
    value = float(size_bytes)
    unit = ""
    for name in _UNITS:
        value, unit = value / 1024, name
        # 1023.6 MiB would be shown as 1024 MiB.
        if round(value) < 1024:
            break
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
