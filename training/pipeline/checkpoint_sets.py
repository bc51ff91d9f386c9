"""Groups a run's checkpoints by epoch, so that both experts' files of an epoch stay together."""

from collections.abc import Mapping
from dataclasses import dataclass

from training.errors import NotFoundError
from training.pipeline.run_view import RunView
from training.remedies import ResumeRun, ShowRuns
from training.runs.state import Checkpoint, Run
from training.vocabulary import ExpertName


@dataclass(frozen=True, slots=True)
class CheckpointSet:
    """The checkpoints of one epoch, at most one per expert.

    The set is complete if every expert of the run has a file. Users load these files together.
    """

    epoch: int
    files: Mapping[ExpertName, Checkpoint]
    is_complete: bool


def sets(run: Run) -> list[CheckpointSet]:
    """Return a set of checkpoints for each epoch, newest first.

    A set is incomplete if one of the experts saved nothing at that epoch.
    """
    by_epoch: dict[int, dict[ExpertName, Checkpoint]] = {}
    for expert in run.spec.experts:
        for checkpoint in run.expert(expert.name).checkpoints:
            # The last epoch can have two files. The later one wins: the final file, which has no
            # number in its name.
            by_epoch.setdefault(checkpoint.epoch, {})[expert.name] = checkpoint
    wanted = len(run.spec.experts)
    return [
        CheckpointSet(epoch, by_epoch[epoch], len(by_epoch[epoch]) == wanted)
        for epoch in sorted(by_epoch, reverse=True)
    ]


def best_set(run: Run) -> CheckpointSet | None:
    """Return the newest complete set, or else each expert's newest file; None if there is none."""
    found = sets(run)
    complete = next((one for one in found if one.is_complete), None)
    if complete is not None or not found:
        return complete
    newest: dict[ExpertName, Checkpoint] = {}
    for one in reversed(found):
        newest.update(one.files)
    return CheckpointSet(found[0].epoch, newest, is_complete=False)


def require_checkpoints(view: RunView) -> None:
    """Raise `NotFoundError` if a run has no checkpoint to download yet."""
    if not any(view.expert(expert.name).checkpoints for expert in view.spec.experts):
        if view.run.status.is_final:
            raise NotFoundError(
                f"{view.spec.name} has no checkpoint: it ended before one was saved.",
                "Resume the run, or start another one.",
                ResumeRun(run=view.spec.name),
            )
        raise NotFoundError(
            f"{view.spec.name} has no checkpoint yet ({view.run.status.value}).",
            "The first checkpoint is saved after the number of epochs in save-every.",
            ShowRuns(run=view.spec.name),
        )
