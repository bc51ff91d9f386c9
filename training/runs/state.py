"""A run's state: the fold of its events, in one pure function."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from training.remedies import Remedy, Suggestion, about_run, suggested
from training.runs import events as ev
from training.runs.events import Event, StageEvent
from training.runs.spec import RunSpec
from training.runs.training_events import CheckpointSaved, EpochEnded, StateSaved, Warned
from training.vocabulary import ExpertName, StageKey, Trouble


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"  # stored; no stage has started yet
    RUNNING = "running"  # at least one stage has started
    SUCCEEDED = "succeeded"  # every expert is trained and published
    FAILED = "failed"  # a stage failed for good; the other expert's files stay
    CANCELLED = "cancelled"  # stopped on request

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the run."""
        return self in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED)


class StageStatus(StrEnum):
    """Where a stage stands, in the order in which an attempt passes through."""

    PENDING = "pending"  # not handed to the backend yet
    SUBMITTED = "submitted"  # queued at the backend
    RUNNING = "running"  # an attempt holds its lease
    INTERRUPTED = "interrupted"  # the attempt is over; the next one continues
    FAILED = "failed"
    SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True)
class StageState:
    """A stage's newest attempt.

    `progressed_attempt` is the newest attempt that left something to continue from.
    """

    status: StageStatus = StageStatus.PENDING
    attempt: int = 0
    handle: str = ""
    reused: bool = False
    note: str = ""
    cause: str = ""
    fix: str = ""
    remedy: Remedy | None = None
    progressed_attempt: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Complete adapter weights on disk; `file` is relative to the run's folder.

    What `publish` reports about a file replaces the trainer's report, whichever is read first.
    """

    file: str
    epoch: int
    step: int
    size_bytes: int
    is_final: bool
    is_published: bool = False


@dataclass(frozen=True, slots=True)
class ExpertState:
    """How far an expert's training is, from durable events."""

    epoch: int = 0
    step: int = 0
    loss: float | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """A run and everything that has happened to it."""

    spec: RunSpec
    status: RunStatus = RunStatus.QUEUED
    stages: Mapping[StageKey, StageState] = field(default_factory=dict[StageKey, StageState])
    experts: Mapping[ExpertName, ExpertState] = field(default_factory=dict[ExpertName, ExpertState])
    cancel_requested_at: datetime | None = None
    cause: str = ""
    fix: str = ""
    remedy: Remedy | None = None
    ended_at: datetime | None = None

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody asked to cancel it."""
        return self.cancel_requested_at is not None

    @property
    def suggestion(self) -> Suggestion | None:
        """The changed setting with which a failed run may succeed, if one is known."""
        return suggested(self.remedy)

    def stage(self, key: StageKey) -> StageState:
        """Return the state of one stage; a stage without events is pending."""
        return self.stages.get(key, StageState())

    def expert(self, name: ExpertName) -> ExpertState:
        """Return how far one expert is."""
        return self.experts.get(name, ExpertState())


def fold(spec: RunSpec, events: Iterable[Event]) -> Run:
    """Return the run after `events`, given in (attempt, sequence) order."""
    run = Run(spec)
    for event in events:
        run = apply(run, event)
    return run


def apply(run: Run, event: Event) -> Run:
    """Return `run` after `event`; the first final event wins and later events are ignored."""
    if run.status.is_final:
        return run
    match event:
        case ev.CancelRequested():
            return replace(run, cancel_requested_at=run.cancel_requested_at or event.at)
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
            return _with_training(_apply_to_stage(run, event), event)
        case _:
            assert_never(event)


def _apply_to_stage(run: Run, event: StageEvent) -> Run:
    before = run.stage(event.key)
    # A warning says nothing about the stage itself.
    if event.attempt < before.attempt or isinstance(event.body, Warned):
        return run
    after = _next_stage(before, event)
    waiting = after.status in (StageStatus.PENDING, StageStatus.SUBMITTED)
    status = run.status if waiting else RunStatus.RUNNING
    return replace(run, status=status, stages={**run.stages, event.key: after})


def _next_stage(before: StageState, event: StageEvent) -> StageState:
    """Return the stage after `event`; within an attempt the status only moves forward.

    Events of several writers may be read in another order than they happened in, so every step
    here gives the same result in any order.
    """
    stage, body = _at_attempt(before, event.attempt), event.body
    match body:
        case ev.StageSubmitted():
            return replace(_moved(stage, StageStatus.SUBMITTED), handle=body.handle)
        case ev.StageStarted():
            since = min(stage.started_at or event.at, event.at)
            return replace(_moved(stage, StageStatus.RUNNING), started_at=since)
        case ev.StageSucceeded():
            done = _moved(stage, StageStatus.SUCCEEDED)
            return replace(done, reused=body.reused, note=body.note, ended_at=event.at)
        case ev.StageFailed():
            return replace(
                _moved(stage, StageStatus.FAILED),
                cause=body.cause,
                fix=body.fix,
                remedy=body.remedy,
                ended_at=event.at,
            )
        case ev.StageStopped() | ev.StageLost():
            return _moved(stage, StageStatus.INTERRUPTED)
        case EpochEnded() | StateSaved() | CheckpointSaved():
            return replace(stage, progressed_attempt=event.attempt)
        case Warned():
            return stage
        case _:
            assert_never(body)


def _at_attempt(before: StageState, attempt: int) -> StageState:
    if attempt == before.attempt:
        return before
    return StageState(
        attempt=attempt,
        progressed_attempt=before.progressed_attempt,
        started_at=before.started_at,
    )


def _moved(stage: StageState, status: StageStatus) -> StageState:
    order = list(StageStatus)
    return replace(stage, status=max(stage.status, status, key=order.index))


def _with_training(run: Run, event: StageEvent) -> Run:
    """Return `run` with what a training event says of its expert; a file counts once."""
    name, body = event.key.expert, event.body
    if name is None:
        return run
    state = run.expert(name)
    match body:
        case EpochEnded():
            if body.step < state.step:
                return run
            state = replace(state, epoch=body.epoch, step=body.step, loss=body.loss)
        case CheckpointSaved():
            saved = Checkpoint(
                body.path,
                body.epoch,
                body.step,
                body.size_bytes,
                body.is_final,
                is_published=event.key.stage == "publish",
            )
            state = _with_checkpoint(state, saved)
        case Warned():
            state = replace(state, troubles=tuple(sorted({*state.troubles, body.trouble})))
        case _:
            return run
    return replace(run, experts={**run.experts, name: state})


def _with_checkpoint(state: ExpertState, saved: Checkpoint) -> ExpertState:
    known = [old for old in state.checkpoints if old.file == saved.file]
    if not saved.is_published and any(old.is_published for old in known):
        return state
    others = (old for old in state.checkpoints if old.file != saved.file)
    ordered = sorted((*others, saved), key=lambda c: (c.step, c.is_final))
    return replace(state, checkpoints=tuple(ordered))
