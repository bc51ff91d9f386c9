"""Numbers as the texts show them: counts, rates, losses and bars."""

import math
import re
from collections.abc import Sequence

BAR_WIDTH = 12
_EXPONENT = re.compile(r"e([+-])0*(\d)")


def count(number: int, one: str, many: str = "") -> str:
    """Return `1 clip` or `1,512 clips`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def rate(value: float) -> str:
    """Return a learning rate as it is typed: `8e-5`, `0.001`."""
    return _EXPONENT.sub(lambda m: f"e{m[1] if m[1] == '-' else ''}{m[2]}", f"{value:.3g}")


def loss(value: float) -> str:
    """Return a loss with the digits that mean something."""
    if not math.isfinite(value):
        return "not a number"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"


def share(done: int, total: int) -> float:
    """Return how much of `total` is done, from 0 to 1."""
    return min(max(done / total, 0.0), 1.0) if total > 0 else 0.0


def bar(done: int, total: int) -> str:
    """Return a bar and a percentage; both are full only when all is done."""
    part = share(done, total)
    filled = math.floor(part * BAR_WIDTH)
    return f"{'▰' * filled}{'▱' * (BAR_WIDTH - filled)} {math.floor(part * 100)} %"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"
