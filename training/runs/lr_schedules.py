"""The learning-rate schedules a run can have, and which settings each of them takes."""

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

# What musubi-tuner hands to a schedule; the others would pass it over without a word.
# Source: `get_lr_scheduler` in its training/trainer_base.py.
_TAKEN_BY: Mapping[str, tuple[Scheduler, ...]] = MappingProxyType(
    {
        "scheduler_power": ("polynomial",),
        "min_lr_ratio": ("polynomial", "cosine_with_min_lr", "rex"),
    }
)


def require_effect(scheduler: Scheduler, given: Mapping[str, str], min_lr_ratio: float) -> None:
    """Refuse settings that a schedule has no use for.

    Args:
        scheduler: The schedule of the run.
        given: What the user asked for, by the names of settings.
        min_lr_ratio: The last learning rate as a part of the first.

    Raises:
        RequestError: A given setting would have no effect, or a falling rate would not fall.
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
