"""AdamW over the adapter's parameter vector.

`torch.optim` imports torch's compiler on first use, which takes longer than a rehearsal.
"""

import argparse
import logging
import math
from typing import Any

import torch
from torch import Tensor

from training.rehearsal.loop.schedule import parse_values
from training.rehearsal.musubi_error import MusubiError

logger = logging.getLogger(__name__)

# A learning rate for 14 billion parameters hardly moves such a small model within a few hundred
# steps. Options, progress and metadata show the unscaled rate.
RATE_SCALE = 8.0

_NOTES = {
    "adamw": "",
    "adamw8bit": " (in place of 8-bit AdamW, which needs a GPU)",
    "adafactor": " (in place of Adafactor, which a rehearsal lacks)",
}
_OPTIONS = {"weight_decay", "eps"}
_ADAFACTOR_OPTIONS = _OPTIONS | {"relative_step", "scale_parameter", "warmup_init"}
_BETAS = (0.9, 0.999)


class AdamW:
    """Decoupled weight decay (Loshchilov and Hutter, 2019) with gradient clipping."""

    def __init__(self, parameter: Tensor, args: argparse.Namespace) -> None:
        name = args.optimizer_type.lower()
        if name not in _NOTES:
            raise MusubiError(
                f"ValueError: The rehearsal has no --optimizer_type {args.optimizer_type}.",
                "Use adamw8bit, adamw or adafactor.",
            )
        options = parse_values(args.optimizer_args)
        allowed = _ADAFACTOR_OPTIONS if name == "adafactor" else _OPTIONS
        if unknown := options.keys() - allowed:
            raise MusubiError(
                f"TypeError: AdamW.__init__() got an unexpected keyword argument '{min(unknown)}'",
                "Use weight_decay and eps only.",
            )
        logger.info("use AdamW optimizer%s | %s", _NOTES[name], options)
        given = ",".join(f"{key}={value}" for key, value in options.items())
        self.description = "torch.optim.adamw.AdamW" + (f"({given})" if given else "")
        self._decay = float(options.get("weight_decay", 0.01))
        self._epsilon = float(options.get("eps", 1e-8))
        self._parameter = parameter
        self._mean = torch.zeros_like(parameter)
        self._square = torch.zeros_like(parameter)
        self._steps = 0

    @torch.no_grad()
    def step(self, gradient: Tensor, rate: float, max_norm: float) -> None:
        """Take a step at the unscaled `rate`; a `max_norm` of 0 disables clipping."""
        if max_norm:
            norm = math.sqrt(torch.dot(gradient, gradient).item())
            gradient = gradient * min(1.0, max_norm / (norm + 1e-6))
        self._steps += 1
        scaled = rate * RATE_SCALE
        first, second = _BETAS
        self._mean.lerp_(gradient, 1.0 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1.0 - second)
        spread = (self._square / (1.0 - second**self._steps)).sqrt_().add_(self._epsilon)
        self._parameter.mul_(1.0 - scaled * self._decay)
        self._parameter.addcdiv_(self._mean, spread, value=-scaled / (1.0 - first**self._steps))

    def state(self) -> dict[str, Any]:
        """Return the optimizer state."""
        return {"step": self._steps, "exp_avg": self._mean, "exp_avg_sq": self._square}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the result of `state`."""
        self._steps = int(state["step"])
        self._mean.copy_(state["exp_avg"])
        self._square.copy_(state["exp_avg_sq"])
