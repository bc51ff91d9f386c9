"""A run's state, computed from its events by one pure function."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from training.remedies import Remedy, Suggestion, about_run, suggested
from training.runs import events as ev
from training.runs.events import Event, StageCost, StageEvent, StepsTimed
from training.runs.spec import RunSpec
from training.runs.training_events import (
    CheckpointSaved,
    EpochEnded,
    FastRefused,
    StateSaved,
    Warned,
)
from training.runs.training_health import gravest, has_diverged
from training.vocabulary import ExpertName, StageKey, Trouble

Attempt = tuple[StageKey, int]  # a stage and the number of one of its attempts


class RunStatus(StrEnum):
    """The status of a run."""

    QUEUED = "queued"  # stored; no stage has started yet
    RUNNING = "running"  # at least one stage has started
    SUCCEEDED = "succeeded"  # every expert is trained and published
    FAILED = "failed"  # a stage failed for good; the other expert's files are kept
    CANCELLED = "cancelled"  # stopped on request

    @property
    def is_final(self) -> bool:
        return self in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED)


class StageStatus(StrEnum):
    """The status of a stage; an attempt's status only moves down this list."""

    PENDING = "pending"  # not handed to the backend yet
    SUBMITTED = "submitted"  # handed to the backend, not started yet
    RUNNING = "running"  # an attempt holds the stage's lease
    INTERRUPTED = "interrupted"  # the attempt is over; the next one continues
    FAILED = "failed"
    SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True)
class AttemptTime:
    """How long an attempt of a stage held its machine, and the machine's GPU (None: no GPU)."""

    attempt: int
    gpu: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class StageState:
    """The state of a stage; most fields describe its newest attempt.

    Attributes:
        gpu: The GPU that the newest attempt actually got; None if unknown or a CPU.
        progressed_attempt: Number of the newest attempt that made progress, or that stopped because
            a service was busy; 0 if there is none.
        started_at: The start of the first attempt.
        attempt_started_at: The start of the newest attempt.
        heard_at: The newest event that the newest attempt itself wrote; None before its start.
        earlier: The times of the earlier attempts that started.
    """

    status: StageStatus = StageStatus.PENDING
    attempt: int = 0
    handle: str = ""
    reused: bool = False
    note: str = ""
    cause: str = ""
    fix: str = ""
    remedy: Remedy | None = None
    gpu: str | None = None
    progressed_attempt: int = 0
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    attempt_started_at: datetime | None = None
    heard_at: datetime | None = None
    ended_at: datetime | None = None
    earlier: tuple[AttemptTime, ...] = ()

    def times(self, now: datetime) -> tuple[AttemptTime, ...]:
        """Return the time of each attempt that started, up to `now`."""
        if self.attempt_started_at is None:
            return self.earlier
        seconds = ((self.ended_at or now) - self.attempt_started_at).total_seconds()
        return (*self.earlier, AttemptTime(self.attempt, self.gpu, max(seconds, 0.0)))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Complete adapter weights on disk; `file` is relative to the run's folder.

    If both the trainer and the publish stage report a file, the report of the publish stage counts,
    whatever the order of their events. `crc32` is None in runs of earlier versions.
    """

    file: str
    epoch: int
    step: int
    size_bytes: int
    is_final: bool
    is_published: bool = False
    crc32: int | None = None


@dataclass(frozen=True, slots=True)
class ExpertState:
    """An expert's training progress, according to stored events."""

    epoch: int = 0
    step: int = 0
    loss: float | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    losses: Mapping[int, float] = field(default_factory=dict[int, float])  # by epoch
    troubles: tuple[Trouble, ...] = ()
    slow_reason: str = ""  # why the requested compiled steps are not used
    timed: Mapping[int, StepsTimed] = field(default_factory=dict[int, StepsTimed])  # by attempt


@dataclass(frozen=True, slots=True)
class Run:
    """A run and everything that has happened to it.

    Attributes:
        costs: The recorded cost of each attempt that has ended, one per attempt. Attempts in
            runs of earlier versions have none.
        damaged: Names of event files with unreadable lines; the content of those lines is unknown.
    """

    spec: RunSpec
    status: RunStatus = RunStatus.QUEUED
    stages: Mapping[StageKey, StageState] = field(default_factory=dict[StageKey, StageState])
    costs: Mapping[Attempt, StageCost] = field(default_factory=dict[Attempt, StageCost])
    experts: Mapping[ExpertName, ExpertState] = field(default_factory=dict[ExpertName, ExpertState])
    cancel_requested_at: datetime | None = None
    cancelled_by: str = ""  # who asked first
    save_requested_at: datetime | None = None  # the newest request
    finish_requested_at: datetime | None = None
    cause: str = ""
    fix: str = ""
    remedy: Remedy | None = None
    ended_at: datetime | None = None
    damaged: tuple[str, ...] = ()

    @property
    def is_trained(self) -> bool:
        """Whether every expert is fully trained, even if files still have to be checked."""
        keys = (StageKey("train", expert.name) for expert in self.spec.experts)
        return all(self.stage(key).status is StageStatus.SUCCEEDED for key in keys)

    @property
    def is_record_incomplete(self) -> bool:
        """Whether events are missing: lines are unreadable, or a stage lacks the end it must have.

        All stages of a success have ended, and those before training had ended when it started.
        """
        going = (StageStatus.SUBMITTED, StageStatus.RUNNING, StageStatus.INTERRUPTED)
        unended = {key.stage for key, stage in self.stages.items() if stage.status in going}
        has_begun = any(
            key.stage == "train" and stage.started_at for key, stage in self.stages.items()
        )
        is_short = self.status is RunStatus.SUCCEEDED and bool(unended)
        is_early = has_begun and not unended.isdisjoint(("prepare", "fetch", "cache"))
        return bool(self.damaged) or is_short or is_early

    @property
    def is_cancelling(self) -> bool:
        """Whether the run was cancelled before it was fully trained, and has not ended yet."""
        is_asked = self.cancel_requested_at is not None
        return is_asked and not self.status.is_final and not self.is_trained

    @property
    def is_finishing(self) -> bool:
        """Whether experts that were asked to end after their current step are still training."""
        is_asked = self.finish_requested_at is not None
        return is_asked and not (self.status.is_final or self.is_trained or self.is_cancelling)

    @property
    def is_ending(self) -> bool:
        """Whether the run is being cancelled or finished early, or only has files left to check."""
        return self.is_cancelling or self.is_finishing or self.is_trained

    @property
    def suggestion(self) -> Suggestion | None:
        """A changed setting that may let a failed run succeed; None if none is known."""
        return suggested(self.remedy)

    @property
    def trouble(self) -> Trouble | None:
        """The worst trouble in the training of any expert; None if there was none."""
        return gravest(trouble for expert in self.experts.values() for trouble in expert.troubles)

    def stage(self, key: StageKey) -> StageState:
        """Return the state of one stage; a stage without events is pending."""
        return self.stages.get(key, StageState())

    def expert(self, name: ExpertName) -> ExpertState:
        return self.experts.get(name, ExpertState())


def fold(spec: RunSpec, events: Iterable[Event]) -> Run:
    """Return the run after `events`, which must be in the order of `RunLog.events`."""
    run = Run(spec)
    for event in events:
        run = apply(run, event)
    return run


def apply(run: Run, event: Event) -> Run:
    """Return `run` after `event`; the first final event wins and later events are ignored."""
    if run.status.is_final:
        return run
    match event:
        case ev.CancelRequested() | ev.SaveRequested() | ev.FinishRequested():
            return _asked(run, event)
        case ev.RunSucceeded():
            return replace(run, status=RunStatus.SUCCEEDED, ended_at=event.at)
        case ev.RunFailed():
            return replace(
                run,
                status=RunStatus.FAILED,
                cause=event.cause,
                fix=event.fix,
                remedy=about_run(event.remedy, run.spec.name),
                ended_at=event.at,
            )
        case ev.RunCancelled():
            return replace(run, status=RunStatus.CANCELLED, ended_at=event.at)
        case ev.StageEvent():
            return _with_cost(_with_training(_apply_to_stage(run, event), event), event)
        case _:
            assert_never(event)


def _asked(run: Run, event: ev.CancelRequested | ev.SaveRequested | ev.FinishRequested) -> Run:
    match event:
        case ev.CancelRequested():
            return replace(
                run,
                cancel_requested_at=run.cancel_requested_at or event.at,
                cancelled_by=run.cancelled_by or event.by,
            )
        case ev.SaveRequested():
            return replace(run, save_requested_at=max(run.save_requested_at or event.at, event.at))
        case ev.FinishRequested():
            return replace(run, finish_requested_at=run.finish_requested_at or event.at)


# These do not change the state of the stage.
_REMARKS = (Warned, FastRefused, StageCost, StepsTimed)


def _apply_to_stage(run: Run, event: StageEvent) -> Run:
    before = run.stage(event.key)
    if event.attempt < before.attempt or isinstance(event.body, _REMARKS):
        return run
    after = _next_stage(before, event)
    waiting = after.status in (StageStatus.PENDING, StageStatus.SUBMITTED)
    status = run.status if waiting else RunStatus.RUNNING
    return replace(run, status=status, stages={**run.stages, event.key: after})


def _next_stage(before: StageState, event: StageEvent) -> StageState:
    """Return the stage after `event`; within an attempt the status only moves forward.

    Events of different writers may be read in a different order than they happened, so the result
    must not depend on the order.
    """
    stage, body = _at_attempt(before, event), event.body
    match body:
        case ev.StageSubmitted():
            queued = _moved(stage, StageStatus.SUBMITTED)
            since = min(stage.submitted_at or event.at, event.at)
            return replace(queued, handle=body.handle, submitted_at=since)
        case ev.StageStarted():
            return replace(
                _moved(stage, StageStatus.RUNNING),
                started_at=min(stage.started_at or event.at, event.at),
                attempt_started_at=min(stage.attempt_started_at or event.at, event.at),
                heard_at=_later(stage.heard_at, event.at),
                gpu=body.gpu or stage.gpu,
            )
        case ev.StageSucceeded():
            done = _ended(stage, StageStatus.SUCCEEDED, event.at)
            return replace(done, reused=body.reused, note=body.note)
        case ev.StageFailed():
            failed = _ended(stage, StageStatus.FAILED, event.at)
            return replace(failed, cause=body.cause, fix=body.fix, remedy=body.remedy)
        case ev.StageStopped() | ev.StageLost():
            stopped = _ended(stage, StageStatus.INTERRUPTED, event.at)
            is_passing = isinstance(body, ev.StageStopped) and body.is_passing
            return replace(stopped, progressed_attempt=event.attempt) if is_passing else stopped
        case EpochEnded() | StateSaved() | CheckpointSaved():
            heard_at = _later(stage.heard_at, event.at)
            return replace(stage, progressed_attempt=event.attempt, heard_at=heard_at)
        case Warned() | FastRefused() | StageCost() | StepsTimed():
            return stage
        case _:
            assert_never(body)


def _later(known: datetime | None, at: datetime) -> datetime:
    return at if known is None else max(known, at)


def _at_attempt(before: StageState, event: StageEvent) -> StageState:
    if event.attempt == before.attempt:
        return before
    return StageState(
        attempt=event.attempt,
        progressed_attempt=before.progressed_attempt,
        started_at=before.started_at,
        earlier=before.times(event.at),
    )


def _ended(stage: StageState, status: StageStatus, at: datetime) -> StageState:
    return replace(_moved(stage, status), ended_at=min(stage.ended_at or at, at))


def _moved(stage: StageState, status: StageStatus) -> StageState:
    order = list(StageStatus)
    return replace(stage, status=max(stage.status, status, key=order.index))


def _with_cost(run: Run, event: StageEvent) -> Run:
    """Return `run` with the cost of an attempt; the first event about an attempt counts.

    Events of the attempt itself come first, so its own record takes precedence over that of a
    process that found it gone.
    """
    attempt = (event.key, event.attempt)
    if not isinstance(event.body, StageCost) or attempt in run.costs:
        return run
    return replace(run, costs={**run.costs, attempt: event.body})


def _with_training(run: Run, event: StageEvent) -> Run:
    """Return `run` after a training event of one expert; repeated checkpoint files count once."""
    name, body = event.key.expert, event.body
    if name is None:
        return run
    state = run.expert(name)
    match body:
        case EpochEnded():
            state = _with_epoch(state, body)
        case CheckpointSaved():
            saved = Checkpoint(
                body.path,
                body.epoch,
                body.step,
                body.size_bytes,
                body.is_final,
                is_published=event.key.stage == "publish",
                crc32=body.crc32,
            )
            state = _reached(_with_checkpoint(state, saved), body.epoch, body.step)
        case Warned():
            state = _with_trouble(state, body.trouble)
        case FastRefused():
            state = replace(state, slow_reason=body.reason)
        case StepsTimed():
            state = replace(state, timed={**state.timed, event.attempt: body})
        case _:
            return run
    return replace(run, experts={**run.experts, name: state})


def _with_epoch(state: ExpertState, ended: EpochEnded) -> ExpertState:
    if ended.loss is not None and math.isfinite(ended.loss):
        state = replace(state, losses={**state.losses, ended.epoch: ended.loss})
        if has_diverged(state.losses):
            state = _with_trouble(state, "loss_diverged")
    if ended.step < state.step:
        return state
    return replace(_reached(state, ended.epoch, ended.step), loss=ended.loss)


def _reached(state: ExpertState, epoch: int, step: int) -> ExpertState:
    """Return the expert's state, moved forward to `step` if that is later.

    This is also called for checkpoints, because a run that resumes from its last step reports a
    checkpoint, but no further end of an epoch.
    """
    return replace(state, epoch=epoch, step=step) if step > state.step else state


def _with_trouble(state: ExpertState, trouble: Trouble) -> ExpertState:
    return replace(state, troubles=tuple(sorted({*state.troubles, trouble})))


def _with_checkpoint(state: ExpertState, saved: Checkpoint) -> ExpertState:
    known = [old for old in state.checkpoints if old.file == saved.file]
    if not saved.is_published and any(old.is_published for old in known):
        return state
    others = (old for old in state.checkpoints if old.file != saved.file)
    ordered = sorted((*others, saved), key=lambda c: (c.step, c.is_final))
    return replace(state, checkpoints=tuple(ordered))
