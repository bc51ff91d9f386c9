"""Numbers formatted for display: rates, losses, progress bars and times."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from training.estimates.single_frames import SingleFrames
from training.wording import count

BAR_WIDTH = 12
CENT = 0.01  # dollars; smaller costs are not shown
_COLUMNS = "▁▂▃▄▅▆▇█"
_PLAIN_RATE = 1e-3


def rate(value: float) -> str:
    """Return a learning rate in the form that users type: `8e-5`, `0.001`."""
    if value >= _PLAIN_RATE or value == 0:
        return f"{value:g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def loss(value: float) -> str:
    """Return a loss as text: `0.0873`, `8.21e-05`, or `not a number`."""
    if not math.isfinite(value):
        return "not a number"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"


def bar(done: int, total: int) -> str:
    """Return a bar and a percentage, full only when everything is done."""
    filled = _parts(BAR_WIDTH, done, total)
    return f"{'▰' * filled}{'▱' * (BAR_WIDTH - filled)} {percent(done, total)}"


def trend(values: Sequence[float]) -> str:
    """Return finite values as a row of small columns: `▇▅▃▁`; "" for fewer than two values."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    steps = (len(_COLUMNS) - 1) / (high - low) if high > low else 0.0
    return "".join(_COLUMNS[round((value - low) * steps)] for value in values)


def percent(done: int, total: int) -> str:
    """Return a percentage; it is 100 % only if everything is done."""
    return f"{_parts(100, done, total)} %"


def and_list(names: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _parts(whole: int, done: int, total: int) -> int:
    return min(max(done * whole // total, 0), whole) if total > 0 else 0


def pace(seconds: float) -> str:
    """Return the time that a step takes: `0.42 s per step`, `5.6 s per step`, `12 s per step`."""
    return f"{seconds:.0f} s per step" if seconds >= 10 else f"{seconds:.2g} s per step"


_MINUTE = 60


def ago(moment: datetime) -> str:
    """Return markdown that Discord shows as `20 seconds ago` and keeps updating."""
    return f"<t:{int(moment.timestamp())}:R>"


def moment(at: datetime, style: Literal["t", "f"]) -> str:
    """Return markdown that Discord shows in the reader's time zone: a time, or a date and time."""
    return f"<t:{int(at.timestamp())}:{style}>"


def duration(seconds: float) -> str:
    """Return `45 s`, `12 min`, `2 h 5 min` or `3 days 4 h`."""
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
    """Return a rough time: `less than a minute` or `about 12 min`."""
    if seconds < _MINUTE:
        return "less than a minute"
    return f"about {duration(seconds)}"


def dollars(usd: float) -> str:
    """Return an amount, rounded so that it does not change every second: `$0.40`, `$25`."""
    return f"${usd:,.0f}" if usd >= 10 else f"${round(usd, 1):.2f}"


def page_text(skipped: int, total: int, most: int) -> str:
    """Return `Page 2 of 7. `, for a list of which one page shows `most` items; "" for one page."""
    return f"Page {skipped // most + 1} of {-(-total // most)}. " if total > most else ""


def single_frames_share(found: SingleFrames) -> str:
    """Return how many steps of an I2V epoch are single frames, and why these teach nothing."""
    share = f"{100 * found.time_share:.0f}% of the time"
    return (
        f"{found.steps} of {count(found.all_steps, 'step')} per epoch ({share}) are single frames. "
        "An I2V model gets the first frame as input, so they teach it nothing."
    )
