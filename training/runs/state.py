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
from training.vocabulary import ExpertName, StageKey, Trouble


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"  # stored; no stage has started yet
    RUNNING = "running"  # at least one stage has started
    SUCCEEDED = "succeeded"  # every expert is trained and published
    FAILED = "failed"  # a stage failed for good; what the other expert made stays
    CANCELLED = "cancelled"  # stopped on request

    @property
    def is_final(self) -> bool:
        """Return whether nothing more will happen to the run."""
        return self in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED)


class StageStatus(StrEnum):
    """Where one stage of a run stands, in the order in which one attempt passes through."""

    PENDING = "pending"  # not handed to the backend yet
    SUBMITTED = "submitted"  # waits for its turn at the backend
    RUNNING = "running"  # an attempt holds its lease
    INTERRUPTED = "interrupted"  # the attempt is over; the next one goes on
    FAILED = "failed"
    SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True)
class StageState:
    """What is known of one stage: the newest attempt and how it stands.

    `progressed_attempt` is the newest attempt that left something a later one can go on from.
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
    """Adapter weights on disk, complete; `file` is relative to the run's folder.

    What `publish` says of a file replaces what the trainer said, whichever is read first.
    """

    file: str
    epoch: int
    step: int
    size_bytes: int
    is_final: bool
    is_published: bool = False


@dataclass(frozen=True, slots=True)
class ExpertState:
    """How far one expert's training is, from durable events."""

    epoch: int = 0
    step: int = 0
    loss: float | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run and all that came of it so far."""

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
        """Whether somebody has asked it to stop."""
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
    """Return the run that `events`, in (attempt, sequence) order, lead to."""
    run = Run(spec)
    for event in events:
        run = apply(run, event)
    return run


def apply(run: Run, event: Event) -> Run:
    """Return `run` after `event`. The first final event wins; what follows it is ignored."""
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
        case ev.TrainingWarned():
            return _with_training(run, event)
        case _:
            return _apply_to_stage(run, event)


def _apply_to_stage(run: Run, event: StageEvent) -> Run:
    before = run.stage(event.key)
    if event.attempt >= before.attempt:
        after = _next_stage(before, event)
        waiting = after.status in (StageStatus.PENDING, StageStatus.SUBMITTED)
        status = run.status if waiting else RunStatus.RUNNING
        run = replace(run, status=status, stages={**run.stages, event.key: after})
    return _with_training(run, event)


def _next_stage(before: StageState, event: StageEvent) -> StageState:
    """Return the stage after `event`; within one attempt the status only ever moves on.

    Events of several writers may be read in another order than they happened in, so that every
    step here gives the same result in any order.
    """
    stage = before
    if event.attempt > before.attempt:
        stage = StageState(
            attempt=event.attempt,
            progressed_attempt=before.progressed_attempt,
            started_at=before.started_at,
        )
    match event:
        case ev.StageSubmitted():
            return replace(_moved(stage, StageStatus.SUBMITTED), handle=event.handle)
        case ev.StageStarted():
            since = min(stage.started_at or event.at, event.at)
            return replace(_moved(stage, StageStatus.RUNNING), started_at=since)
        case ev.StageSucceeded():
            done = _moved(stage, StageStatus.SUCCEEDED)
            return replace(done, reused=event.reused, note=event.note, ended_at=event.at)
        case ev.StageFailed():
            failed = _moved(stage, StageStatus.FAILED)
            return replace(
                failed,
                cause=event.cause,
                fix=event.fix,
                remedy=event.remedy,
                ended_at=event.at,
            )
        case ev.StageStopped() | ev.StageLost():
            return _moved(stage, StageStatus.INTERRUPTED)
        case ev.EpochEnded() | ev.StateSaved() | ev.CheckpointSaved():
            return replace(stage, progressed_attempt=event.attempt)
        case _:
            assert_never(event)


def _moved(stage: StageState, status: StageStatus) -> StageState:
    order = list(StageStatus)
    later = max(stage.status, status, key=order.index)
    return replace(stage, status=later)


def _with_training(run: Run, event: StageEvent | ev.TrainingWarned) -> Run:
    """Return `run` with what a training event says of its expert; a name counts once."""
    name = event.key.expert
    if name is None:
        return run
    state = run.expert(name)
    match event:
        case ev.EpochEnded():
            if event.step < state.step:
                return run
            state = replace(state, epoch=event.epoch, step=event.step, loss=event.loss)
        case ev.CheckpointSaved():
            is_published = event.key.stage == "publish"
            known = (old for old in state.checkpoints if old.file == event.file)
            if not is_published and any(old.is_published for old in known):
                return run
            saved = Checkpoint(
                event.file,
                event.epoch,
                event.step,
                event.size_bytes,
                event.is_final,
                is_published,
            )
            others = tuple(old for old in state.checkpoints if old.file != event.file)
            ordered = sorted((*others, saved), key=lambda c: (c.step, c.is_final))
            state = replace(state, checkpoints=tuple(ordered))
        case ev.TrainingWarned():
            state = replace(state, troubles=tuple(sorted({*state.troubles, event.trouble})))
        case _:
            return run
    return replace(run, experts={**run.experts, name: state})
