"""The events that a program reports while it caches or trains.

This module imports only the standard library, because it also runs in musubi-tuner's environment.
"""

from dataclasses import dataclass
from typing import Literal

from training.vocabulary import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheProgress:
    """`done` of `total` samples are cached."""

    done: int
    total: int
    kind: Literal["cache"] = "cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """The model is loaded; `step` is 0, or the step from which training resumes."""

    step: int
    total_steps: int
    steps_per_epoch: int
    epoch: int
    total_epochs: int
    kind: Literal["training_started"] = "training_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """One optimizer step was taken, at `learning_rate`; the first epoch is 1.

    Attributes:
        gpu_memory_bytes: The peak of reserved GPU memory so far; None without a GPU.
        samples: How many samples the step trained on; None if unknown.
        tokens: The tokens of each of them; None if unknown.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    average_loss: float
    learning_rate: float
    seconds_per_step: float | None
    gpu_memory_bytes: int | None = None
    samples: int | None = None
    tokens: int | None = None
    kind: Literal["step"] = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnded:
    """All steps of the epoch are done; the event of its checkpoint, if any, follows.

    `loss` is the average over the epoch. The train stage fills it in.
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

    In a run's log, `path` is relative to the run's folder, and the stage has filled in `size_bytes`
    and `crc32`. With these, the headers of a zip can be computed without reading the file.
    """

    path: str
    epoch: int
    step: int
    is_final: bool
    size_bytes: int = 0
    crc32: int | None = None
    kind: Literal["checkpoint"] = "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSaved:
    """A training state is complete; a later attempt can continue from `step`.

    In a run's log, `path` is relative to the run's folder.
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
    """Training continues, but its result is probably useless.

    Each kind of trouble is reported once per attempt.
    """

    trouble: Trouble
    step: int
    epoch: int
    kind: Literal["warned"] = "warned"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastRefused:
    """Training uses musubi-tuner's own steps instead of compiled steps; `reason` says why."""

    reason: str
    kind: Literal["fast_refused"] = "fast_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class LossBroke:
    """Training ended because the loss was NaN or infinite for several steps in a row.

    Attributes:
        step: The first of these steps; the result of training from here on is worthless.
        items: Names of the cache files that this step trained on.
    """

    step: int
    epoch: int
    items: tuple[str, ...] = ()
    kind: Literal["loss_broke"] = "loss_broke"


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
    | FastRefused
    | LossBroke
)
