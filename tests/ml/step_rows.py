"""The steps of a training as rows, for comparisons."""

from collections.abc import Iterable

from training.runs.training_events import ProgressEvent, StepDone

# Step, epoch, loss, average loss and learning rate.
StepRow = tuple[int, int, float | None, float, float | None]


def step_rows(events: Iterable[ProgressEvent]) -> list[StepRow]:
    return [
        (e.step, e.epoch, e.loss, e.average_loss, e.learning_rate)
        for e in events
        if isinstance(e, StepDone)
    ]
