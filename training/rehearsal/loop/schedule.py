"""Learning-rate schedules with the formulas of transformers and musubi-tuner."""

import argparse
import ast
import math
from collections.abc import Callable

from training.rehearsal.musubi_error import MusubiError

# The final rate of `polynomial` if `lr_end` is not given: the default of transformers.
# --lr_scheduler_min_lr_ratio does not change it, because musubi does not pass it to this schedule.
_POLYNOMIAL_END = 1e-7

# Maps the progress, from 0 to 1, to a factor on the learning rate.
_Decay = Callable[[float], float]


class Schedule:
    """Computes the learning rate from the step number alone, so that resuming needs no state."""

    def __init__(self, args: argparse.Namespace, total_steps: int) -> None:
        self._rate = float(args.learning_rate)
        self._total = total_steps
        self._decay = _decay(args, self._rate)

    def rate(self, step: int) -> float:
        """Return the learning rate after `step` steps."""
        return self._rate * self._decay(min(step / max(1, self._total), 1.0))


def _decay(args: argparse.Namespace, rate: float) -> _Decay:
    name, lowest = args.lr_scheduler, args.lr_scheduler_min_lr_ratio
    if lowest is None:
        lowest = 0.01 if name == "rex" else 0.0
    match name:
        case "constant":
            return lambda _: 1.0
        case "linear":
            return lambda done: 1.0 - done
        case "cosine" | "cosine_with_restarts":  # one cycle has no restart
            return _cosine
        case "cosine_with_min_lr":
            return lambda done: _cosine(done) * (1.0 - lowest) + lowest
        case "rex":  # reflected exponential (arXiv 2107.04197), with musubi's constants
            return lambda done: lowest + (1.0 - lowest) * (1.0 - done) / (0.1 + 0.9 * (1.0 - done))
        case "polynomial":
            power = args.lr_scheduler_power
            end = parse_values(args.lr_scheduler_args).get("lr_end", _POLYNOMIAL_END)
            return lambda done: ((rate - end) * (1.0 - done) ** power + end) / rate
        case other:
            raise MusubiError(
                f"ValueError: The rehearsal has no --lr_scheduler {other}.",
                "Use constant, linear, cosine, rex or polynomial.",
            )


def _cosine(done: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * done))


def parse_values(arguments: list[str] | None) -> dict[str, float]:
    """Parse arguments such as `weight_decay=0.01`; return the numbers by name."""
    pairs = (argument.partition("=") for argument in arguments or [])
    return {name: ast.literal_eval(text) for name, _, text in pairs}
