"""Fits the learning-rate schedule of a resumed training to its new number of steps."""

from pathlib import Path
from typing import Any

from torch.optim.lr_scheduler import LambdaLR

from training.musubi.launcher.hooks import Function
from training.musubi.state import read_state

# musubi-tuner's schedules whose rate depends only on the step number.
_CLOSED_FORM = ("RexLR",)
_COUNTERS = ("last_epoch", "_step_count", "_last_lr")


def resume(original: Function) -> Function:
    """Wrap musubi-tuner's loading of a state so that the schedule gets the new length."""

    def resumed(trainer: Any, accelerator: Any, args: Any) -> Any:
        # accelerate's list of prepared schedules; musubi-tuner passes none here.
        schedules: list[Any] = [wrapped.scheduler for wrapped in accelerator._schedulers]
        before: list[dict[str, Any]] = [{**vars(schedule)} for schedule in schedules]
        result = original(trainer, accelerator, args)
        if args.resume and read_state(Path(args.resume)).total_steps != args.max_train_steps:
            for schedule, fresh in zip(schedules, before, strict=True):
                stretch(schedule, fresh)
        return result

    return resumed


def stretch(schedule: Any, fresh: dict[str, Any]) -> None:
    """Restore the length that a schedule had before its state was loaded.

    Args:
        schedule: The schedule after loading.
        fresh: Its attributes before loading.
    """
    if type(schedule) is not LambdaLR and type(schedule).__name__ not in _CLOSED_FORM:
        return
    counters = {name: vars(schedule)[name] for name in _COUNTERS if name in vars(schedule)}
    vars(schedule).update({**fresh, **counters})
    # `step()` advances the counter first, so start one earlier to get the current rate.
    schedule.last_epoch -= 1
    schedule.step()
