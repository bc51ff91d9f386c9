"""Learning-rate schedules, as musubi-tuner takes them from transformers."""

import argparse
import ast
import math
from collections.abc import Callable

from training.rehearsal.musubi_error import MusubiError

# transformers' default; musubi's --lr_scheduler_min_lr_ratio does not reach `polynomial`.
_POLYNOMIAL_END = 1e-7

# Maps progress after the warm-up, 0 to 1, to a fraction of the learning rate.
_Decay = Callable[[float], float]


class Schedule:
    """Computes the learning rate from the step number alone, so that resuming needs no state."""

    def __init__(self, args: argparse.Namespace, total_steps: int) -> None:
        self._rate = float(args.learning_rate)
        self._total = total_steps
        warmup = args.lr_warmup_steps
        self._warmup = int(warmup * total_steps) if isinstance(warmup, float) else int(warmup)
        if args.lr_scheduler == "constant" and self._warmup:
            raise MusubiError(
                "ValueError: constant does not require `num_warmup_steps`. Set None or 0.",
                "Use --lr_scheduler constant_with_warmup.",
            )
        self._decay = _decay(args, parse_values(args.lr_scheduler_args), self._rate)

    def rate(self, step: int) -> float:
        """Return the learning rate after `step` steps."""
        if step < self._warmup:
            return self._rate * step / max(1, self._warmup)
        done = (step - self._warmup) / max(1, self._total - self._warmup)
        return self._rate * self._decay(min(done, 1.0))


def _decay(args: argparse.Namespace, extra: dict[str, float], rate: float) -> _Decay:
    match args.lr_scheduler:
        case "constant" | "constant_with_warmup":
            return lambda _: 1.0
        case "linear":
            return lambda done: 1.0 - done
        case "cosine":
            return _cosine(extra.get("num_cycles", 0.5))
        case "cosine_with_restarts":
            cycles = args.lr_scheduler_num_cycles
            return lambda done: 0.0 if done >= 1 else _half_wave((cycles * done) % 1.0)
        case "cosine_with_min_lr":
            lowest = args.lr_scheduler_min_lr_ratio or 0.0
            wave = _cosine(args.lr_scheduler_num_cycles / 2)
            return lambda done: wave(done) * (1.0 - lowest) + lowest
        case "polynomial":
            return _polynomial(args.lr_scheduler_power, extra.get("lr_end", _POLYNOMIAL_END), rate)
        case "rex":
            return _rex(args.lr_scheduler_min_lr_ratio)
        case other:
            raise MusubiError(
                f"ValueError: The rehearsal has no --lr_scheduler {other}.",
                "Use constant, linear, cosine, rex or polynomial.",
            )


def _cosine(cycles: float) -> _Decay:
    return lambda done: max(0.0, _half_wave(2.0 * cycles * done))


def _rex(lowest: float | None) -> _Decay:
    """Reflected exponential (arXiv 2107.04197), with musubi's constants."""
    end = 0.01 if lowest is None else lowest
    return lambda done: end + (1.0 - end) * (1.0 - done) / (0.1 + 0.9 * (1.0 - done))


def _half_wave(done: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * done))


def _polynomial(power: float, end: float, rate: float) -> _Decay:
    if end >= rate:
        raise MusubiError(
            f"ValueError: lr_end ({end}) must be smaller than initial lr ({rate})",
            "Use a higher --learning_rate.",
        )
    return lambda done: ((rate - end) * (1.0 - done) ** power + end) / rate


def parse_values(arguments: list[str] | None) -> dict[str, float]:
    """Return `name=value` arguments with their values as Python numbers.

    Raises:
        MusubiError: An argument is malformed.
    """
    values: dict[str, float] = {}
    for argument in arguments or []:
        name, equals, text = argument.partition("=")
        try:
            if not equals:
                raise ValueError(argument)  # noqa: TRY301 - one message for both mistakes
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise MusubiError(
                f"ValueError: malformed node or string: {argument}", "Write it as name=value."
            ) from error
    return values
