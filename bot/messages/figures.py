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
