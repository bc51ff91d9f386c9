"""Decides which Functions the tick starts. The tick is the only Function that Modal schedules."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from training.deployment.resources import FunctionName

# Each Function's period, and the time of day (UTC) at which the first period begins.
PERIODS: Mapping[FunctionName, tuple[timedelta, timedelta]] = MappingProxyType(
    {
        "watch": (timedelta(minutes=5), timedelta()),
        "clean_up": (timedelta(days=1), timedelta(hours=3, minutes=17)),
    }
)
# If no tick comes within this time after a period begins, the Function waits for the next period.
_LATEST = timedelta(minutes=30)


def due(at: datetime, claim: Callable[[str], bool]) -> list[FunctionName]:
    """Return the Functions to start now. Each Function is started once per period.

    Several ticks may run at once, so a tick must claim a period before it starts the Function.

    Args:
        at: The time in UTC.
        claim: Returns True only to the first caller for each name.
    """
    found: list[FunctionName] = []
    for name, (period, first) in PERIODS.items():
        since_first = at - at.replace(hour=0, minute=0, second=0, microsecond=0) - first
        late = since_first % period
        if late <= _LATEST and claim(f"{name}/{(at - late).isoformat(timespec='minutes')}"):
            found.append(name)
    return found
