"""The learning rate of a resumed training: that of its step, over as many steps as it has now."""

from pathlib import Path
from typing import Any

from torch.optim.lr_scheduler import LambdaLR

from training.musubi.launcher.hooks import Function
from training.musubi.state import read_state

# musubi-tuner's own schedules whose rate follows from the number of the step alone.
_CLOSED_FORM = ("RexLR",)
_COUNTERS = ("last_epoch", "_step_count", "_last_lr")


def resume(original: Function) -> Function:
    """Return musubi-tuner's way of loading a state, with the schedule set to the new length."""

    def resumed(trainer: Any, accelerator: Any, args: Any) -> Any:
        # accelerate's list of what it prepared; musubi-tuner hands over no schedule here.
        schedules: list[Any] = [wrapped.scheduler for wrapped in accelerator._schedulers]
        before: list[dict[str, Any]] = [{**vars(schedule)} for schedule in schedules]
        result = original(trainer, accelerator, args)
        if args.resume and read_state(Path(args.resume)).total_steps != args.max_train_steps:
            for schedule, fresh in zip(schedules, before, strict=True):
                stretch(schedule, fresh)
        return result

    return resumed


def stretch(schedule: Any, fresh: dict[str, Any]) -> None:
    """Let a schedule that was loaded follow the length that it was made with.

    Args:
        schedule: A schedule after its state was loaded.
        fresh: Its attributes before that.
    """
    if type(schedule) is not LambdaLR and type(schedule).__name__ not in _CLOSED_FORM:
        return
    counters = {name: vars(schedule)[name] for name in _COUNTERS if name in vars(schedule)}
    vars(schedule).update({**fresh, **counters})
    # A step computes the rate of the next number, which is then the one that was reached.
    schedule.last_epoch -= 1
    schedule.step()
