"""One training run: from its first step or a saved state to its end or a stop request."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from training.musubi.launcher import randomness
from training.musubi.launcher.batches import Batches
from training.musubi.launcher.randomness import States
from training.musubi.launcher.saving import CheckpointSaver
from training.musubi.launcher.trouble import TroubleWatch
from training.musubi.progress import EXIT_STOPPED, ProgressWriter
from training.musubi.state import Position, Reason, TrainingState, step_state_name
from training.runs.training_events import (
    EpochEnded,
    StepDone,
    Stopped,
    TrainingStarted,
    Warned,
)

UP_WEIGHT = ".lora_up.weight"


# Objects of musubi-tuner and accelerate, which are not installed where this is type-checked.
@dataclass(frozen=True)
class Parts:
    """The objects of musubi-tuner's training loop."""

    args: Any
    accelerator: Any
    network: Any
    optimizer: Any
    loader: Any


class TrainingRun:
    """Counts and reports the steps of musubi-tuner's loop, and saves training states.

    The main thread holds a lock from just before adapter and optimizer change until the step is
    counted, and while it saves. The holder of the lock therefore sees the last finished step.
    """

    def __init__(self, parts: Parts, progress: ProgressWriter, state_seconds: float) -> None:
        args, accelerator = parts.args, parts.accelerator
        self._parts, self._progress, self._state_seconds = parts, progress, state_seconds
        self._lock = threading.RLock()
        self._at, self._losses = Position(), list[float]()
        self._started_at = time.time()
        self._states = randomness.snapshot(accelerator.step)
        self._reason: Reason = "steps"
        self._is_updating, self._has_begun = False, False
        self._after_step: Callable[[], None] | None = None
        self._rate = 0.0
        self._total_steps = int(args.max_train_steps)
        self.batches = Batches(parts.loader, self._total_steps, self._begin_epoch)
        self._saver = CheckpointSaver(
            Path(args.output_dir), args.output_name, progress, accelerator.save_state
        )
        warmup = args.lr_warmup_steps
        warmup_steps = int(warmup * self._total_steps) if isinstance(warmup, float) else warmup
        self._trouble = TroubleWatch(warmup_steps or 0, self._total_steps)
        self._step_began = time.monotonic()

    @property
    def started_at(self) -> float:
        """When training first started, in seconds since 1970."""
        return self._started_at

    @property
    def losses(self) -> list[float]:
        """The latest loss of each batch of an epoch."""
        return self._losses

    @property
    def batch(self) -> int:
        """The number of batches trained in the current epoch."""
        return self._at.batch

    def go_on(self, start: TrainingState, states: States) -> None:
        """Resume where `start` was saved, with the random generators in `states`."""
        self._at, self._losses = start.position, list(start.losses)
        self._started_at, self._states = start.started_at, states
        self._saver.saved_step = start.step
        self.batches.go_on(start, states)

    def announce(self) -> None:
        """Report that training is about to take its first step."""
        self._step_began = time.monotonic()
        self._progress.write(
            TrainingStarted(
                step=self._at.step,
                total_steps=self._total_steps,
                steps_per_epoch=self._steps_per_epoch,
                epoch=self._at.epoch,
                total_epochs=self._epochs,
            )
        )

    @property
    def _steps_per_epoch(self) -> int:
        return math.ceil(len(self.batches) / self._parts.args.gradient_accumulation_steps)

    @property
    def _epochs(self) -> int:
        return math.ceil(self._total_steps / self._steps_per_epoch)

    def _begin_epoch(self) -> None:
        if self._has_begun and self._at.batch > 0:
            self._at = replace(self._at, epoch=self._at.epoch + 1, batch=0)
        self._has_begun = True
        self._step_began = time.monotonic()

    def update(self, step: Callable[..., Any], *arguments: object) -> object:
        """Let the optimizer take a step if its batches are complete."""
        if self._parts.accelerator.sync_gradients and not self._is_updating:
            device = self._parts.accelerator.device
            if device.type == "cuda":
                # The backward pass is only queued so far. Waiting for it outside the lock lets a
                # stop in the meantime save the previous step.
                torch.cuda.synchronize(device)
            self._lock.acquire()
            self._is_updating = True
            self._rate = float(self._parts.optimizer.param_groups[0]["lr"])
        return step(*arguments)

    def end_batch(self, loss: float) -> None:
        """Count a batch, and the step if the optimizer took one with it."""
        index = self._at.batch
        self._losses[index : index + 1] = [loss]
        self._at = replace(self._at, batch=index + 1)
        if not self._is_updating:
            return
        self._at = replace(self._at, step=self._at.step + 1)
        self._states = randomness.snapshot(self._parts.accelerator.step)
        self._report(loss)
        if self._after_step is not None:
            self._after_step()
            self._after_step = None
        if time.monotonic() - self._saver.saved_at >= self._state_seconds:
            self._save_between("time")
        self._is_updating = False
        self._step_began = time.monotonic()
        self._lock.release()

    def _report(self, loss: float) -> None:
        step, now = self._at.step, time.monotonic()
        self._progress.write(
            StepDone(
                step=step,
                total_steps=self._total_steps,
                epoch=self._at.epoch + 1,
                loss=loss,
                average_loss=sum(self._losses) / len(self._losses),
                learning_rate=self._rate,
                seconds_per_step=now - self._step_began,
                gpu_memory_bytes=self._gpu_memory(),
            )
        )
        is_left_out = getattr(self._parts.optimizer, "step_was_skipped", False)
        unchanged = None if is_left_out else self._is_unchanged
        for trouble in self._trouble.look(step, loss, self._rate, unchanged):
            self._progress.write(Warned(trouble=trouble, step=step, epoch=self._at.epoch + 1))
        if self._at.batch == len(self.batches) or step == self._total_steps:
            self._progress.write(EpochEnded(epoch=self._at.epoch + 1, step=step))

    def _gpu_memory(self) -> int | None:
        device = self._parts.accelerator.device
        return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None

    def _is_unchanged(self) -> bool:
        named = self._parts.network.named_parameters()
        return not any(bool(w.any()) for name, w in named if name.endswith(UP_WEIGHT))

    def save_weights(self, save: Callable[..., Any], file: str, *arguments: object) -> None:
        """Save an adapter file."""
        with self._lock:
            self._saver.save_weights(save, file, self._reached(), *arguments)

    def save_state(self, path: str) -> None:
        """Save a training state on musubi-tuner's request."""
        with self._lock:
            self._saver.save_state(Path(path), self._record(self._reason))

    def save_epoch(self, epoch: int, save: Callable[[], Any]) -> None:
        """Let musubi-tuner save and remove states at the end of `epoch`."""
        with self._lock:
            self._at, self._reason = replace(self._at, epoch=epoch, batch=0), "epoch"
            save()

    def save_step(self, save: Callable[[], Any]) -> None:
        """Let musubi-tuner save and remove states once the current step is counted."""

        def saved() -> None:
            self._reason = "steps"
            save()

        self._after_step = saved

    def save_end(self, save: Callable[[], Any]) -> None:
        """Let musubi-tuner save the last state."""
        with self._lock:
            self._at, self._reason = replace(self._at, epoch=self._epochs, batch=0), "end"
            save()

    def finish(self) -> None:
        """Keep the lock forever: everything is saved and a stop comes too late."""
        self._lock.acquire()

    def stop(self) -> int:
        """Save the last finished step; called from another thread than the training one.

        Returns the exit code. The lock is kept, so nothing changes any more.
        """
        self._lock.acquire()
        if self._at.step > self._saver.saved_step:
            self._save_between("stop")
        self._progress.write(Stopped(step=self._at.step, epoch=self._at.epoch))
        return EXIT_STOPPED

    def _save_between(self, reason: Reason) -> None:
        args = self._parts.args
        path = Path(args.output_dir) / step_state_name(args.output_name, self._at.step)
        device = self._parts.accelerator.device
        if device.type != "cuda":
            self._saver.save_state(path, self._record(reason), self._states)
            return
        # On the default stream the copies would wait for the step being computed, and
        # on another of normal priority for each kernel of it: on an H100 with 5 s of a step left,
        # 400 tensors took 5.3 s there and 1.4 s with priority.
        with torch.cuda.stream(torch.cuda.Stream(device, priority=-1)):
            self._saver.save_state(path, self._record(reason), self._states)

    def _reached(self) -> Position:
        """Return the position of a checkpoint, which is saved before its step is counted."""
        at = self._at
        if self._is_updating:
            return replace(at, step=at.step + 1)
        done = at.batch == len(self.batches) or at.step >= self._total_steps
        return replace(at, epoch=at.epoch + 1) if done and at.batch > 0 else at

    def _record(self, reason: Reason) -> TrainingState:
        args, at = self._parts.args, self._at
        return TrainingState(
            epoch=at.epoch,
            batch=at.batch,
            step=at.step,
            total_steps=self._total_steps,
            total_epochs=self._epochs,
            output_name=args.output_name,
            training_comment=args.training_comment,
            seed=args.seed,
            reason=reason,
            started_at=self._started_at,
            losses=self._losses,
            order_seed=self.batches.order_seed if at.batch > 0 else None,
        )
