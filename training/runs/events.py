"""What can happen to a run: the events in its log, from which its state is folded."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from training.remedies import Remedy
from training.runs.training_events import CheckpointSaved, EpochEnded, StateSaved, Warned
from training.vocabulary import StageKey


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSubmitted:
    """The backend accepted the attempt and returned a handle for it."""

    handle: str
    kind: Literal["submitted"] = "submitted"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """The attempt holds the stage's lease and is working."""

    resumed_step: int | None = None
    kind: Literal["started"] = "started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSucceeded:
    """The stage's result is stored; `reused` if it was already there."""

    reused: bool = False
    note: str = ""
    kind: Literal["succeeded"] = "succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFailed:
    """The stage failed in a way that another attempt would repeat."""

    cause: str
    fix: str
    remedy: Remedy | None = None
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStopped:
    """The attempt was interrupted (a signal, a killed trainer); the next attempt continues."""

    reason: str
    kind: Literal["stopped"] = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLost:
    """The attempt's container or process disappeared without reporting an end."""

    kind: Literal["lost"] = "lost"


StageBody = Annotated[
    StageSubmitted
    | StageStarted
    | EpochEnded
    | CheckpointSaved
    | StateSaved
    | Warned
    | StageSucceeded
    | StageFailed
    | StageStopped
    | StageLost,
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
class RunSucceeded:
    """Every expert of the run is trained and published."""

    at: datetime
    kind: Literal["run_succeeded"] = "run_succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed:
    """A stage failed and nothing else of the run can continue."""

    at: datetime
    cause: str
    fix: str
    remedy: Remedy | None = None
    kind: Literal["run_failed"] = "run_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelled:
    """The run was cancelled and none of its stages is alive."""

    at: datetime
    kind: Literal["run_cancelled"] = "run_cancelled"


Event = StageEvent | CancelRequested | RunSucceeded | RunFailed | RunCancelled
