"""The learning-rate schedules and the settings that each one uses."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from training.errors import RequestError

Scheduler = Literal[
    "polynomial",
    "constant",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "rex",
]

# What musubi-tuner passes to a schedule; the others would silently ignore it.
# Source: `get_lr_scheduler` in its training/trainer_base.py.
_TAKEN_BY: Mapping[str, tuple[Scheduler, ...]] = MappingProxyType(
    {
        "scheduler_power": ("polynomial",),
        "min_lr_ratio": ("polynomial", "cosine_with_min_lr", "rex"),
    }
)


def require_effect(scheduler: Scheduler, given: Mapping[str, str], min_lr_ratio: float) -> None:
    """Refuse settings that a schedule ignores.

    Args:
        scheduler: The schedule of the run.
        given: The settings that the user gave.
        min_lr_ratio: The final learning rate as a fraction of the initial one.

    Raises:
        RequestError: A setting would have no effect, or a decaying rate would not decay.
    """
    for name, schedulers in _TAKEN_BY.items():
        if name in given and scheduler not in schedulers:
            shown = name.replace("_", "-")
            raise RequestError(
                f"{shown} has no effect with scheduler {scheduler}.",
                f"Leave it out, or give scheduler {' or '.join(schedulers)}.",
            )
    if scheduler == "polynomial" and min_lr_ratio >= 1:
        raise RequestError(
            "With min-lr-ratio 1 the polynomial schedule would not fall, which the trainer "
            "refuses.",
            "Give a smaller min-lr-ratio, or scheduler constant.",
        )
