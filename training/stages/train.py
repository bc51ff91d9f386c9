"""train: one expert's adapter, going on from the newest complete training state."""

import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Self

from pydantic import TypeAdapter

from training import events as ev
from training import layout
from training.catalogue import ExpertName
from training.child import run_command
from training.errors import StageError
from training.musubi.progress import (
    CheckpointSaved,
    EpochEnded,
    ProgressEvent,
    StateSaved,
    StepDone,
    TrainingStarted,
    Warned,
)
from training.musubi.state import STATE_FILE, read_state
from training.request import RunSpec
from training.stage import StageContext, StageResult
from training.stages.cache import clean_folders
from training.stages.merge import receipt_hash
from training.tensor_header import read_header

logger = logging.getLogger(__name__)
_COMMENT: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])

# A card is edited every few seconds at most; more often would only wear the disk.
PROGRESS_SECONDS = 0.5


def run(context: StageContext) -> StageResult:
    """Train the expert of this stage to its last epoch."""
    name = _expert(context)
    planner = context.planner
    folder = context.path(layout.checkpoints(context.spec.guild, context.spec.name, name))
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{context.spec.output_name(name)}.safetensors"
    if final.exists():
        return StageResult(reused=True)
    _remove_leftovers(folder)
    clean_folders(context)
    state = newest_state(folder, context.spec, name) or _state_to_continue(context, name)
    log = layout.log(context.spec.guild, context.spec.name, context.key, context.attempt)
    with _Recorder(context) as recorder:
        run_command(
            planner.train_command(name, state, receipt_hash(context, name)),
            environment=planner.environment(),
            log=context.path(log),
            stopping=context.stopping,
            on_event=recorder.take,
            memory=planner.memory_use(name),
        )
    if not final.exists():
        raise StageError(
            f"The trainer ended well but left no {final.name}.",
            "This is a bug; the operator finds what it printed in the run's logs.",
        )
    return StageResult()


def newest_state(folder: Path, spec: RunSpec, name: ExpertName) -> Path | None:
    """Return the training state of this run and expert with the most steps, if there is one.

    A state is complete when its sidecar is there, which is written into it before the rename. One
    that was damaged since is passed over: the one before it costs less than starting anew.
    """
    found = [
        (steps, sidecar.parent)
        for sidecar in folder.glob(f"*-state/{STATE_FILE}")
        if (steps := _steps_of(sidecar.parent, spec, name)) is not None
    ]
    return max(found)[1] if found else None


def _steps_of(state: Path, spec: RunSpec, name: ExpertName) -> int | None:
    """Return the steps of a state of this run and expert; None where it is not, or is damaged."""
    try:
        record = read_state(state)
        read_header(state / "model.safetensors")
    except (OSError, ValueError) as error:
        logger.warning("run %s: the state %s is damaged: %s", spec.name, state.name, error)
        return None
    return record.step if _origin(record.training_comment) == (spec.name, name) else None


def _origin(comment: str | None) -> tuple[object, object] | None:
    """Return the run and the expert that a state's comment names; None where it is not ours."""
    try:
        facts: dict[str, object] = _COMMENT.validate_json(comment or "")
    except ValueError:
        return None
    return facts.get("run"), facts.get("expert")


def _state_to_continue(context: StageContext, name: ExpertName) -> Path | None:
    """Return the newest state of the runs that this one goes on with, the last one first."""
    spec = context.spec
    while spec.continues is not None:
        spec = context.house.log(spec.guild, spec.continues).spec()
        folder = context.path(layout.checkpoints(spec.guild, spec.name, name))
        if (state := newest_state(folder, spec, name)) is not None:
            return state
    return None


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed trainer was writing: it never got its final name."""
    for path in folder.iterdir():
        if path.name.startswith(".") and path.is_dir():
            shutil.rmtree(path)
        elif path.name.startswith("."):
            path.unlink()


def _expert(context: StageContext) -> ExpertName:
    if context.key.expert is None:
        raise ValueError("train is a stage of one expert")
    return context.key.expert


class _Recorder:
    """Turns the trainer's progress into durable events, metrics and the newest progress."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self._reported_at = 0.0
        self._last: StepDone | None = None
        spec = context.spec
        path = context.path(layout.metrics(spec.guild, spec.name, context.key, context.attempt))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._metrics = path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._metrics.close()

    def take(self, event: ProgressEvent) -> None:
        key, attempt, at = self.context.key, self.context.attempt, self.context.house.clock()
        match event:
            case TrainingStarted():
                self.context.emit(
                    ev.StageStarted(at=at, key=key, attempt=attempt, resumed_step=event.step)
                )
            case StepDone():
                self._step(event)
            case EpochEnded():
                loss = self._last.average_loss if self._last else None
                self.context.emit(
                    ev.EpochEnded(
                        at=at,
                        key=key,
                        attempt=attempt,
                        epoch=event.epoch,
                        step=event.step,
                        loss=loss,
                    )
                )
            case CheckpointSaved():
                self.context.emit(self._checkpoint(event))
            case StateSaved():
                self.context.emit(
                    ev.StateSaved(
                        at=at, key=key, attempt=attempt, epoch=event.epoch, step=event.step
                    )
                )
            case Warned():
                self.context.emit(
                    ev.TrainingWarned(
                        at=at, key=key, attempt=attempt, trouble=event.trouble, step=event.step
                    )
                )
            case _:
                pass

    def _checkpoint(self, event: CheckpointSaved) -> ev.CheckpointSaved:
        spec = self.context.spec
        root = self.context.path(layout.run(spec.guild, spec.name))
        path = Path(event.path)
        return ev.CheckpointSaved(
            at=self.context.house.clock(),
            key=self.context.key,
            attempt=self.context.attempt,
            file=path.relative_to(root).as_posix(),
            epoch=event.epoch,
            step=event.step,
            size_bytes=path.stat().st_size,
            is_final=event.is_final,
        )

    def _step(self, event: StepDone) -> None:
        self._last = event
        if event.loss is not None and event.learning_rate is not None:
            metric = {"step": event.step, "loss": event.loss, "learning_rate": event.learning_rate}
            # One write a step: what a killed stage has read of its trainer is not lost with it.
            self._metrics.write(json.dumps(metric).encode() + b"\n")
        if monotonic() - self._reported_at >= PROGRESS_SECONDS or event.step == event.total_steps:
            self._reported_at = monotonic()
            self.context.report_progress(json.dumps(asdict(event)).encode())
