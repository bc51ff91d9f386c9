"""Stores the events, metrics, checkpoints, training states and progress that a trainer reports."""

import json
import logging
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Self

from training.estimates.step_times import step_kind
from training.files.hashing import file_crc32
from training.files.patient_file import PatientFile
from training.files.safetensors_header import read_header
from training.musubi.state import superseded_states
from training.pipeline.stage_runner import StageContext
from training.pipeline.stage_writes import Made
from training.pipeline.step_clock import StepClock
from training.runs.events import StageStarted, StepsTimed
from training.runs.training_events import (
    CheckpointSaved,
    EpochEnded,
    FastRefused,
    LossBroke,
    ProgressEvent,
    StateSaved,
    StepDone,
    TrainingStarted,
    Warned,
)

logger = logging.getLogger(__name__)
_AT_ONCE = 0.0  # pass this as `share` to `StageWrites.later` to store at once


class Recorder:
    """Stores one expert's checkpoints and training states with their events, and shows progress.

    To save writes, a checkpoint and its events are stored together with the next training state.
    The last checkpoint is stored at the end of the stage. If the machine dies earlier, the next
    attempt continues from the last stored state, and makes the checkpoints after that state again.

    `checkpoints` is the key of the folder of checkpoints and training states. Their file names
    begin with `output_name`.

    Attributes:
        broken: The trainer's report that a NaN or infinite loss ended training; None otherwise.
        spoiled: The names of the checkpoints that were removed because of NaN or infinite values.
        written: The keys of the log and the metrics.
        log: The file of the trainer's output.
    """

    def __init__(self, context: StageContext, checkpoints: str, output_name: str) -> None:
        self._context, self._checkpoints = context, checkpoints
        self._output_name = output_name
        self._last: StepDone | None = None
        self.broken: LossBroke | None = None
        self.spoiled = list[str]()
        self._total_steps = 0
        keys, attempt = context.spec.keys, (context.key, context.attempt)
        self.written = keys.log(*attempt), keys.metrics(*attempt)
        self.log = context.staging_path(self.written[0])
        self._metrics = PatientFile(context.staging_path(self.written[1]))
        self._clock = _clock(context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self._context.writes.when_room(self._metrics.flush)
        self._metrics.close()
        if kind is not None:
            # This is safe even if a newer attempt runs: only this attempt writes these files.
            self._context.runtime.store.keep(*self.written)

    def take(self, event: ProgressEvent) -> None:
        writes = self._context.writes
        match event:
            case TrainingStarted():
                self._total_steps = event.total_steps
                writes.later(Made(events=[StageStarted(resumed_step=event.step)]))
            case StepDone():
                self._step(event)
            case EpochEnded():
                loss = self._last.average_loss if self._last else None
                writes.later(Made(events=[replace(event, loss=loss)]))
            case LossBroke():
                self.broken = event
            case CheckpointSaved():
                self._checkpoint(event)
            case StateSaved():
                self._state(event)
            case Warned() | FastRefused():
                self._clock.heed(event)
                writes.later(Made(events=[event]), _AT_ONCE)
            case _:
                pass

    def _checkpoint(self, event: CheckpointSaved) -> None:
        path = Path(event.path)
        if (tensor := read_header(path).first_non_finite()) is not None:
            # No event has announced this file, so nobody can have downloaded it. Remove it, so that
            # later attempts do not find it either.
            logger.warning("%s holds NaN or infinity in %s; removed", path.name, tensor)
            path.unlink()
            self.spoiled.append(path.name)
            return
        size_bytes, crc32 = path.stat().st_size, file_crc32(path)
        key = self._key(path)
        saved = replace(event, path=self._shown(key), size_bytes=size_bytes, crc32=crc32)
        self._context.writes.later(Made(kept=[key, *self.written], events=[saved]))

    def _state(self, event: StateSaved) -> None:
        path = Path(event.path)
        if (tensor := read_header(path / "model.safetensors").first_non_finite()) is not None:
            # A run that continued from this state would only train on NaN.
            logger.warning("%s holds NaN or infinity in %s; removed", path.name, tensor)
            shutil.rmtree(path)
            return
        key = self._key(path)
        made = Made(
            kept=[key, *self.written],
            events=[replace(event, path=self._shown(key)), *self.timed()],
            deleted=self._superseded_by(path),
        )
        is_last = event.step == self._total_steps
        self._context.writes.later(made, 1.0 if is_last else _AT_ONCE)

    def _key(self, path: Path) -> str:
        return f"{self._checkpoints}/{path.name}"

    def _shown(self, key: str) -> str:
        """Return `key` without the run's folder in front of it."""
        return key.removeprefix(f"{self._context.spec.keys.folder}/")

    def _superseded_by(self, state: Path) -> list[str]:
        stored = self._context.path(self._checkpoints).glob(f"{self._output_name}-*-state")
        by_name = {path.name: path for path in (*stored, state)}
        return [self._key(old) for old in superseded_states(by_name.values())]

    def _step(self, event: StepDone) -> None:
        self._last = event
        metric = {"step": event.step, "loss": event.loss, "learning_rate": event.learning_rate}
        # `PatientFile` does not buffer, so if the stage is killed, every step reported so far is
        # already in the file. Lines are held in memory only while the disk is full.
        self._metrics.write(json.dumps(metric).encode() + b"\n")
        self._clock.see(event)
        told = {**asdict(event), "seconds_left": self._clock.seconds_left()}
        self._context.report_progress(told, is_last=event.step == event.total_steps)

    def timed(self) -> list[StepsTimed]:
        """Return an event with the step times so far; none if too few steps were taken."""
        times, fast = self._clock.timed(), self._clock.kind.fast
        return [StepsTimed(gpu=self._context.gpu, fast=fast, times=times)] if times else []


def _clock(context: StageContext) -> StepClock:
    planner, settings = context.planner, context.spec.expert(context.expert).settings
    kind = step_kind(planner.model, context.gpu or "", settings)
    return StepClock(kind, planner.groups.step_sizes)
