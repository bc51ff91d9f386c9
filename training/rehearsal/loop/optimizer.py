"""AdamW over the adapter's parameter vector."""

import argparse
import logging
import math
from collections.abc import Mapping

import numpy as np

from training.rehearsal.loop.schedule import parse_values
from training.rehearsal.musubi_error import MusubiError
from training.rehearsal.tensor_file import Floats

logger = logging.getLogger(__name__)

# A learning rate chosen for a 14B model hardly changes this small model in a few hundred steps, so
# the optimizer multiplies it by this factor. Options, progress and metadata show the given rate.
RATE_SCALE = 8.0

_NOTES = {
    "adamw": "",
    "adamw8bit": " (instead of 8-bit AdamW, which needs a GPU)",
    "adafactor": " (instead of Adafactor, which a rehearsal lacks)",
}
# Only weight_decay has an effect. The others are Adafactor's; they are accepted and ignored.
_OPTIONS = {"weight_decay", "relative_step", "scale_parameter", "warmup_init"}
# The values that musubi-tuner and torch use by default.
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
_MAX_NORM = 1.0


def up_ratio(args: argparse.Namespace) -> float | None:
    """Return LoRA+'s factor on the learning rate of lora_up matrices; None if it is not given."""
    given = parse_values(args.network_args)
    if unknown := given.keys() - {"loraplus_lr_ratio"}:
        raise MusubiError(
            f"ValueError: The rehearsal has no --network_args {min(unknown)}.",
            "Use loraplus_lr_ratio only.",
        )
    return float(given["loraplus_lr_ratio"]) if given else None


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019) and gradient clipping."""

    def __init__(
        self, parameter: Floats, args: argparse.Namespace, rates: Floats | None = None
    ) -> None:
        """Prepare to optimize `parameter`; `rates` has a learning-rate factor for each value."""
        name = args.optimizer_type.lower()
        if name not in _NOTES:
            raise MusubiError(
                f"ValueError: The rehearsal has no --optimizer_type {args.optimizer_type}.",
                f"Use one of {', '.join(_NOTES)}.",
            )
        options = parse_values(args.optimizer_args)
        if unknown := options.keys() - _OPTIONS:
            raise MusubiError(
                f"ValueError: The rehearsal has no --optimizer_args {min(unknown)}.",
                "Use weight_decay only.",
            )
        logger.info("use AdamW optimizer%s | %s", _NOTES[name], options)
        given = ",".join(f"{key}={value}" for key, value in options.items())
        self.description = "torch.optim.adamw.AdamW" + (f"({given})" if given else "")
        self._decay = float(options.get("weight_decay", 0.01))
        self._parameter, self._rates = parameter, rates
        self._mean = np.zeros_like(parameter)
        self._square = np.zeros_like(parameter)
        self._steps = 0

    def step(self, gradient: Floats, rate: float) -> None:
        """Take a step; `rate` is the given learning rate, before it is scaled by `RATE_SCALE`."""
        # No dot product is used: it would add in an order that depends on the number of threads.
        norm = math.sqrt(float(np.sum(gradient * gradient)))
        gradient = gradient * min(1.0, _MAX_NORM / (norm + 1e-6))
        self._steps += 1
        scaled = rate * RATE_SCALE
        first, second = _BETAS
        self._mean += (1.0 - first) * (gradient - self._mean)
        self._square *= second
        self._square += (1.0 - second) * gradient * gradient
        spread = np.sqrt(self._square / (1.0 - second**self._steps)) + _EPSILON
        rates = 1.0 if self._rates is None else self._rates
        self._parameter *= 1.0 - scaled * self._decay * rates
        self._parameter -= scaled / (1.0 - first**self._steps) * self._mean * rates / spread

    def state(self) -> dict[str, Floats]:
        """Return the tensors to save for resuming; `step` is a scalar."""
        steps = np.array(self._steps, np.float32)
        return {"step": steps, "exp_avg": self._mean, "exp_avg_sq": self._square}

    def restore(self, state: Mapping[str, Floats]) -> None:
        self._steps = int(state["step"])
        self._mean[:] = state["exp_avg"]
        self._square[:] = state["exp_avg_sq"]
