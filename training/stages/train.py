"""train: one expert's adapter, going on from the newest complete training state."""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic

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
)
from training.stage import StageContext, StageResult

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
    state = newest_state(folder, planner.comment(name))
    log = layout.log(context.spec.guild, context.spec.name, context.key, context.attempt)
    with _Recorder(context, folder) as recorder:
        run_command(
            planner.train_command(name, state),
            environment=planner.engine.environment(),
            log=context.path(log),
            stopping=context.stopping,
            on_event=recorder.take,
        )
    if not final.exists():
        raise StageError(
            f"The trainer ended well but left no {final.name}.",
            "This is a bug; the operator finds what it printed in the run's logs.",
        )
    return StageResult()


def newest_state(folder: Path, comment: str) -> Path | None:
    """Return the training state of this run and expert with the most steps, if there is one.

    A state is complete when its sidecar is there, which is written into it before the rename.
    """
    found: list[tuple[int, Path]] = []
    for sidecar in folder.glob("*-state/training_state.json"):
        facts = json.loads(sidecar.read_text("utf-8"))
        if facts["training_comment"] == comment:
            found.append((int(facts["step"]), sidecar.parent))
    return max(found)[1] if found else None


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


@dataclass(slots=True)
class _Recorder:
    """Turns the trainer's progress into durable events, metrics and the newest progress."""

    context: StageContext
    folder: Path
    _reported_at: float = 0.0
    _last: StepDone | None = None
    _lines: list[str] = field(default_factory=list[str])

    def __enter__(self) -> "_Recorder":
        return self

    def __exit__(self, *exception: object) -> None:
        self._flush()

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
        self._lines.append(
            json.dumps(
                {"step": event.step, "loss": event.loss, "learning_rate": event.learning_rate}
            )
        )
        if monotonic() - self._reported_at >= PROGRESS_SECONDS or event.step == event.total_steps:
            self._flush()

    def _flush(self) -> None:
        self._reported_at = monotonic()
        if self._last is None:
            return
        spec, key = self.context.spec, self.context.key
        self.context.report_progress(json.dumps(asdict(self._last)).encode())
        metrics = self.context.path(
            layout.metrics(spec.guild, spec.name, key, self.context.attempt)
        )
        metrics.parent.mkdir(parents=True, exist_ok=True)
        with metrics.open("a") as file:
            file.writelines(f"{line}\n" for line in self._lines)
        self._lines.clear()
