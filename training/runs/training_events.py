"""What a program reports while it caches or trains.

Only the standard library is imported, because this also runs in musubi-tuner's environment.
"""

from dataclasses import dataclass
from typing import Literal

from training.vocabulary import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheProgress:
    """How many of the samples are cached."""

    done: int
    total: int
    kind: Literal["cache"] = "cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """The model is loaded; `step` is 0, or the step that a resumed training continues from."""

    step: int
    total_steps: int
    steps_per_epoch: int
    epoch: int
    total_epochs: int
    kind: Literal["training_started"] = "training_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """One optimizer step was taken, at `learning_rate`; epochs count from 1.

    `gpu_memory_bytes` is the peak reserved on the device so far, None without one.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    average_loss: float
    learning_rate: float
    seconds_per_step: float | None
    gpu_memory_bytes: int | None = None
    kind: Literal["step"] = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnded:
    """All steps of the epoch are done; its checkpoint, if any, follows.

    `loss` is the average over the epoch; the stage fills it in.
    """

    epoch: int
    step: int
    loss: float | None = None
    kind: Literal["epoch"] = "epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointStarted:
    """The checkpoint for `path` is being written under a temporary name."""

    path: str
    epoch: int
    step: int
    kind: Literal["checkpoint_started"] = "checkpoint_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """A checkpoint is complete under its final name.

    In a run's log `path` is relative to the run's folder, and `size_bytes` is filled in.
    """

    path: str
    epoch: int
    step: int
    is_final: bool
    size_bytes: int = 0
    kind: Literal["checkpoint"] = "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSaved:
    """A training state is complete; a later attempt can continue from `step`.

    In a run's log `path` is relative to the run's folder.
    """

    path: str
    epoch: int
    step: int
    kind: Literal["state"] = "state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Training stopped early on request; its state is saved."""

    step: int
    epoch: int
    kind: Literal["stopped"] = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Training continues but is probably useless; reported once per trouble and attempt."""

    trouble: Trouble
    step: int
    epoch: int
    kind: Literal["warned"] = "warned"


ProgressEvent = (
    CacheProgress
    | TrainingStarted
    | StepDone
    | EpochEnded
    | CheckpointStarted
    | CheckpointSaved
    | StateSaved
    | Stopped
    | Warned
)
