"""What a training tells while it runs: events, metrics, files to keep, the newest progress."""

import json
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Self

from training.musubi.progress import (
    CheckpointSaved,
    EpochEnded,
    ProgressEvent,
    StateSaved,
    StepDone,
    TrainingStarted,
    Warned,
)
from training.musubi.state import superseded_states
from training.pipeline.stage_runner import StageContext
from training.runs import events as ev


class Recorder:
    """Keeps what the trainer of one expert makes, then says so; and follows its steps.

    Args:
        context: The attempt that trains.
        checkpoints: Key of the folder that checkpoints and training states are kept in.
        output_name: What their names begin with.

    Attributes:
        log: Where what the trainer prints is to go.
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
        # Of an attempt that was taken over, too: no other writes these files.
        self._context.runtime.store.keep(*self._written)

    def take(self, event: ProgressEvent) -> None:
        """Follow one event of the trainer."""
        key, attempt, at = self._context.key, self._context.attempt, self._context.runtime.clock()
        match event:
            case TrainingStarted():
                self._context.emit(
                    ev.StageStarted(at=at, key=key, attempt=attempt, resumed_step=event.step)
                )
            case StepDone():
                self._step(event)
            case EpochEnded():
                loss = self._last.average_loss if self._last else None
                self._context.emit(
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
                self._context.emit(self._checkpoint(event))
            case StateSaved():
                self._state(event)
                self._context.emit(
                    ev.StateSaved(
                        at=at, key=key, attempt=attempt, epoch=event.epoch, step=event.step
                    )
                )
            case Warned():
                self._context.emit(
                    ev.TrainingWarned(
                        at=at, key=key, attempt=attempt, trouble=event.trouble, step=event.step
                    )
                )
            case _:
                pass

    def _checkpoint(self, event: CheckpointSaved) -> ev.CheckpointSaved:
        path = Path(event.path)
        size_bytes = path.stat().st_size
        stored = f"{self._checkpoints}/{path.name}"
        self._context.keep(stored, *self._written)
        run = self._context.spec.keys.folder
        return ev.CheckpointSaved(
            at=self._context.runtime.clock(),
            key=self._context.key,
            attempt=self._context.attempt,
            file=PurePosixPath(stored).relative_to(run).as_posix(),
            epoch=event.epoch,
            step=event.step,
            size_bytes=size_bytes,
            is_final=event.is_final,
        )

    def _state(self, event: StateSaved) -> None:
        """Keep a training state, and remove those that are not needed any more."""
        self._context.keep(f"{self._checkpoints}/{Path(event.path).name}", *self._written)
        stored = self._context.path(self._checkpoints)
        for old in superseded_states(stored, self._output_name):
            self._context.runtime.store.delete(f"{self._checkpoints}/{old.name}")

    def _step(self, event: StepDone) -> None:
        self._last = event
        if event.loss is not None and event.learning_rate is not None:
            metric = {"step": event.step, "loss": event.loss, "learning_rate": event.learning_rate}
            # One write a step: what a killed stage has read of its trainer is not lost with it.
            self._metrics.write(json.dumps(metric).encode() + b"\n")
        is_last = event.step == event.total_steps
        self._context.report_progress(json.dumps(asdict(event)).encode(), is_last=is_last)
