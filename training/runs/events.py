"""What can happen to a run: the events that its log holds and its state is folded from."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from training.remedies import Remedy
from training.vocabulary import StageKey, Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSubmitted:
    """The backend took the stage's attempt and gave a handle for it."""

    at: datetime
    key: StageKey
    attempt: int
    handle: str
    kind: Literal["stage_submitted"] = "stage_submitted"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """An attempt of the stage holds its lease and works."""

    at: datetime
    key: StageKey
    attempt: int
    resumed_step: int | None = None
    kind: Literal["stage_started"] = "stage_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnded:
    """Training finished an epoch; `loss` is the average over it."""

    at: datetime
    key: StageKey
    attempt: int
    epoch: int
    step: int
    loss: float | None
    kind: Literal["epoch_ended"] = "epoch_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """A checkpoint is complete under its final name; `file` is relative to the run's folder."""

    at: datetime
    key: StageKey
    attempt: int
    file: str
    epoch: int
    step: int
    size_bytes: int
    is_final: bool
    kind: Literal["checkpoint_saved"] = "checkpoint_saved"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSaved:
    """A training state is complete, so that a later attempt can go on from `step`."""

    at: datetime
    key: StageKey
    attempt: int
    epoch: int
    step: int
    kind: Literal["state_saved"] = "state_saved"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingWarned:
    """Training goes on, but will probably lead to nothing; said once in an attempt."""

    at: datetime
    key: StageKey
    attempt: int
    trouble: Trouble
    step: int
    kind: Literal["training_warned"] = "training_warned"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSucceeded:
    """The stage's result is stored; `reused` when it was there already; `note` for people."""

    at: datetime
    key: StageKey
    attempt: int
    reused: bool = False
    note: str = ""
    kind: Literal["stage_succeeded"] = "stage_succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFailed:
    """The stage ended for a reason that another attempt would meet again."""

    at: datetime
    key: StageKey
    attempt: int
    cause: str
    fix: str
    remedy: Remedy | None = None
    kind: Literal["stage_failed"] = "stage_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStopped:
    """The stage was interrupted (a signal, a killed trainer); the next attempt goes on."""

    at: datetime
    key: StageKey
    attempt: int
    reason: str
    kind: Literal["stage_stopped"] = "stage_stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLost:
    """The attempt ended without a word: its container or process is gone."""

    at: datetime
    key: StageKey
    attempt: int
    kind: Literal["stage_lost"] = "stage_lost"


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
    """At least one stage failed and nothing else of the run is left to do."""

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


StageEvent = (
    StageSubmitted
    | StageStarted
    | EpochEnded
    | CheckpointSaved
    | StateSaved
    | StageSucceeded
    | StageFailed
    | StageStopped
    | StageLost
)
Event = StageEvent | TrainingWarned | CancelRequested | RunSucceeded | RunFailed | RunCancelled
