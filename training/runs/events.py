"""The events in a run's log, from which its state is computed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from training.remedies import Remedy
from training.runs.hyperparameters import Fast
from training.runs.training_events import (
    CheckpointSaved,
    EpochEnded,
    FastRefused,
    StateSaved,
    Warned,
)
from training.vocabulary import StageKey


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSubmitted:
    """The backend accepted the attempt and returned a handle for it."""

    handle: str
    kind: Literal["submitted"] = "submitted"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """The attempt holds the stage's lease and is working; `gpu` is the GPU that it actually got."""

    resumed_step: int | None = None
    gpu: str | None = None
    kind: Literal["started"] = "started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSucceeded:
    """The stage's result is stored; `reused` means that an earlier run stored all of it."""

    reused: bool = False
    note: str = ""
    kind: Literal["succeeded"] = "succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFailed:
    """The stage failed, and would fail again in another attempt."""

    cause: str
    fix: str
    remedy: Remedy | None = None
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStopped:
    """The attempt was interrupted, for example by a signal; the next attempt continues.

    `is_passing` means that a service asked the stage to try again later. Such attempts do not count
    towards the limit on fruitless attempts.
    """

    reason: str
    is_passing: bool = False
    kind: Literal["stopped"] = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLost:
    """The attempt's container or process disappeared without reporting an end."""

    kind: Literal["lost"] = "lost"


@dataclass(frozen=True, slots=True)
class TimedSteps:
    """The median seconds of a step on one sample of so many tokens, and the number of steps."""

    tokens: int
    seconds: float
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsTimed:
    """How long the steps of a training attempt took so far; a later event replaces an earlier one.

    Attributes:
        gpu: The GPU that the attempt actually got; None if unknown or a CPU.
        fast: How the steps were really computed; `off` if compiled steps were refused.
        times: The time for each number of tokens of which enough steps were taken.
    """

    gpu: str | None
    fast: Fast
    times: tuple[TimedSteps, ...]
    kind: Literal["timed"] = "timed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What one attempt of a stage used; stored with the event that ends the attempt.

    Attributes:
        seconds: From the attempt's start to its end. For an attempt that vanished, to its last sign
            of life plus an allowance.
        gpu: The GPU that it actually got; None if unknown or a CPU.
        cores: The physical cores that it requested.
        memory_gib: The main memory that it requested.
        usd_per_second: The price of all three together when the attempt ended; None if the GPU has
            no price or nothing is billed here.
    """

    seconds: float
    gpu: str | None
    cores: float
    memory_gib: float
    usd_per_second: float | None
    kind: Literal["cost"] = "cost"


StageBody = Annotated[
    StageSubmitted
    | StageStarted
    | EpochEnded
    | CheckpointSaved
    | StateSaved
    | Warned
    | FastRefused
    | StageSucceeded
    | StageFailed
    | StageStopped
    | StageLost
    | StageCost
    | StepsTimed,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEvent:
    """Something that happened in one attempt of a stage."""

    at: datetime
    key: StageKey
    attempt: int
    body: StageBody
    kind: Literal["stage"] = "stage"


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """Somebody asked to cancel the run."""

    at: datetime
    by: str
    kind: Literal["cancel_requested"] = "cancel_requested"


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveRequested:
    """Somebody asked every expert that was training to save a checkpoint at once."""

    at: datetime
    by: str
    kind: Literal["save_requested"] = "save_requested"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishRequested:
    """Somebody asked every expert to end after its current step, as if it had finished."""

    at: datetime
    by: str
    kind: Literal["finish_requested"] = "finish_requested"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSucceeded:
    """Every expert of the run is trained and published."""

    at: datetime
    kind: Literal["run_succeeded"] = "run_succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed:
    """A stage failed, and no other stage of the run is working or can start."""

    at: datetime
    cause: str
    fix: str
    remedy: Remedy | None = None
    kind: Literal["run_failed"] = "run_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelled:
    """The run was cancelled, and all of its stages have stopped."""

    at: datetime
    kind: Literal["run_cancelled"] = "run_cancelled"


Event = (
    StageEvent
    | CancelRequested
    | SaveRequested
    | FinishRequested
    | RunSucceeded
    | RunFailed
    | RunCancelled
)
