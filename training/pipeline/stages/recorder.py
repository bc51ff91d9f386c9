"""Records what a trainer reports: events, metrics, checkpoints, states, the latest progress."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Self

from training.musubi.state import superseded_states
from training.pipeline.stage_runner import StageContext
from training.runs.events import StageStarted
from training.runs.training_events import (
    CheckpointSaved,
    EpochEnded,
    ProgressEvent,
    StateSaved,
    StepDone,
    TrainingStarted,
    Warned,
)


class Recorder:
    """Stores what one expert's trainer makes, then writes the event, and reports its steps.

    Args:
        context: The attempt that trains.
        checkpoints: Key of the folder for checkpoints and training states.
        output_name: Prefix of their names.

    Attributes:
        log: File for the trainer's output.
    """

    def __init__(self, context: StageContext, checkpoints: str, output_name: str) -> None:
        self._context, self._checkpoints = context, checkpoints
        self._output_name = output_name
        self._last: StepDone | None = None
        keys, attempt = context.spec.keys, (context.key, context.attempt)
        self._written = keys.log(*attempt), keys.metrics(*attempt)
        self.log = context.staging_path(self._written[0])
        self._metrics = context.staging_path(self._written[1]).open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._metrics.close()
        # Also after a newer attempt took over: only this one writes these files.
        self._context.runtime.store.keep(*self._written)

    def take(self, event: ProgressEvent) -> None:
        """Record one event of the trainer."""
        match event:
            case TrainingStarted():
                self._context.emit(StageStarted(resumed_step=event.step))
            case StepDone():
                self._step(event)
            case EpochEnded():
                loss = self._last.average_loss if self._last else None
                self._context.emit(replace(event, loss=loss))
            case CheckpointSaved():
                size_bytes = Path(event.path).stat().st_size
                path = self._keep(event.path)
                self._context.emit(replace(event, path=path, size_bytes=size_bytes))
            case StateSaved():
                path = self._keep(event.path)
                self._delete_superseded_states()
                self._context.emit(replace(event, path=path))
            case Warned():
                self._context.emit(event)
            case _:
                pass

    def _keep(self, path: str) -> str:
        """Store a file or folder that the trainer made; return its path in the run's folder."""
        stored = f"{self._checkpoints}/{Path(path).name}"
        self._context.keep(stored, *self._written)
        return stored.removeprefix(f"{self._context.spec.keys.folder}/")

    def _delete_superseded_states(self) -> None:
        stored = self._context.path(self._checkpoints)
        for old in superseded_states(stored, self._output_name):
            self._context.runtime.store.delete(f"{self._checkpoints}/{old.name}")

    def _step(self, event: StepDone) -> None:
        self._last = event
        metric = {"step": event.step, "loss": event.loss, "learning_rate": event.learning_rate}
        # Unbuffered, one write per step: a killed stage loses nothing that it has read.
        self._metrics.write(json.dumps(metric).encode() + b"\n")
        is_last = event.step == event.total_steps
        self._context.report_progress(json.dumps(asdict(event)).encode(), is_last=is_last)
