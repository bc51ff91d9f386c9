"""What a trainer process tells the stage that started it: one JSON line an event, an exit code.

The standard library alone is imported, because this also runs inside musubi-tuner's environment;
`progress_reader` is the other end.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from training.vocabulary import Trouble

PROGRESS_FD_VARIABLE = "LORABOT_PROGRESS_FD"
EXIT_STOPPED = os.EX_TEMPFAIL  # 75: asked to stop, state saved, worth starting again

# POSIX promises that a pipe takes a write of this size in one piece; a reader then never sees
# half an event, not even of a trainer that is killed.
_ATOMIC_WRITE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheProgress:
    """So many samples of all datasets are cached."""

    done: int
    total: int
    kind: Literal["cache"] = "cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """The model is loaded; `step` is 0, or the step that a resumed training goes on from."""

    step: int
    total_steps: int
    steps_per_epoch: int
    epoch: int
    total_epochs: int
    kind: Literal["training_started"] = "training_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """One optimizer step was taken, at `learning_rate`; epochs count from 1.

    A trainer's plain log knows neither loss nor rate of one step: they are None there.
    `gpu_memory_bytes` is the most that was reserved on the device so far, None without one.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float | None
    average_loss: float
    learning_rate: float | None
    seconds_per_step: float | None
    gpu_memory_bytes: int | None = None
    kind: Literal["step"] = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnded:
    """All steps of the epoch are done; its checkpoint, if any, follows."""

    epoch: int
    step: int
    kind: Literal["epoch"] = "epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointStarted:
    """The adapter file that will be at `path` is being written under another name."""

    path: str
    epoch: int
    step: int
    kind: Literal["checkpoint_started"] = "checkpoint_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """The adapter file at `path` is complete."""

    path: str
    epoch: int
    step: int
    is_final: bool
    kind: Literal["checkpoint"] = "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSaved:
    """The training state directory at `path` is complete and can be resumed from."""

    path: str
    epoch: int
    step: int
    kind: Literal["state"] = "state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Training ended early because it was asked to; its state is saved."""

    step: int
    epoch: int
    kind: Literal["stopped"] = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Training goes on, but will probably lead to nothing; said once for each trouble."""

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


class ProgressWriter:
    """Writes events to a descriptor that the starting process gave, or nowhere."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "ProgressWriter":
        """Return a writer for the descriptor in `LORABOT_PROGRESS_FD`; silent if it is not set.

        Raises:
            ValueError: The variable is not a number.
        """
        text = (os.environ if environment is None else environment).get(PROGRESS_FD_VARIABLE)
        return cls(int(text) if text else None)

    def write(self, event: ProgressEvent) -> None:
        """Write one event in one piece.

        Raises:
            ValueError: The event is too long to be written in one piece.
        """
        if self._fd is None:
            return
        line = json.dumps(asdict(event)).encode() + b"\n"
        if len(line) > _ATOMIC_WRITE_BYTES:
            raise ValueError(f"A progress event of {len(line)} bytes is too long.")
        try:
            os.write(self._fd, line)
        except BrokenPipeError:
            # Nobody listens any more; the training is worth finishing all the same.
            self._fd = None
