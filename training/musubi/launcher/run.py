"""One training run: from the first step or a saved state, to the end or a stop request."""

import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from training.musubi.launcher import randomness
from training.musubi.launcher.batches import Batches
from training.musubi.launcher.randomness import States
from training.musubi.launcher.saving import CheckpointSaver
from training.musubi.progress import EXIT_BROKE, EXIT_STOPPED, ProgressWriter
from training.musubi.requests import NO_REQUESTS, TrainerRequests
from training.musubi.state import Position, Reason, TrainingState, step_state_name
from training.runs.training_events import (
    EpochEnded,
    LossBroke,
    StepDone,
    Stopped,
    TrainingStarted,
    Warned,
)
from training.runs.training_health import LossWatch, TroubleWatch

MOST_ITEMS = 8  # how many cache files an event may name, because events must stay short
UP_WEIGHT = ".lora_up.weight"


# Any, because musubi-tuner and accelerate are not installed where this is type-checked.
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

    The main thread holds a lock while it saves, and from just before an optimizer step until that
    step is counted. Another thread calls `stop`, which takes the same lock. So `stop` always finds
    the last step finished.

    Args:
        parts: The objects of musubi-tuner's loop.
        progress: Where events are written.
        state_seconds: Seconds between training states.
        fast: Returns the training state's entry on compiled steps; None if they were not requested.
        requests: The requests that the stage makes while training runs.

    Attributes:
        started_at: When training first started, in seconds since 1970.
        losses: The latest loss at each batch position; positions not reached in this epoch keep
            the loss of the epoch before.
    """

    def __init__(
        self,
        parts: Parts,
        progress: ProgressWriter,
        state_seconds: float,
        fast: Callable[[], str | None] = lambda: None,
        requests: TrainerRequests = NO_REQUESTS,
    ) -> None:
        args, accelerator = parts.args, parts.accelerator
        self._parts, self._progress, self._state_seconds = parts, progress, state_seconds
        self._fast, self._requests = fast, requests
        self._is_asked_to_save, self._is_finishing = False, False
        self._lock = threading.RLock()
        self._at, self.losses = Position(), list[float]()
        self.started_at = time.time()
        self._states = randomness.snapshot(accelerator.step)
        self._reason: Reason = "steps"
        self._is_updating, self._has_begun = False, False
        self._rate = 0.0
        self._total_steps = int(args.max_train_steps)
        self.batches = Batches(parts.loader, self._total_steps, self._begin_epoch)
        self._saver = CheckpointSaver(
            Path(args.output_dir), args.output_name, progress, accelerator.save_state
        )
        warmup = args.lr_warmup_steps
        warmup_steps = int(warmup * self._total_steps) if isinstance(warmup, float) else warmup
        self._trouble = TroubleWatch(warmup_steps or 0, self._total_steps)
        self._loss_watch, self._is_spoiled = LossWatch(), False
        self._step_began = time.monotonic()

    @property
    def saving_paused(self) -> AbstractContextManager[object]:
        """A lock: while it is held, no other thread saves adapters or states."""
        return self._lock

    @property
    def batch(self) -> int:
        """The number of batches of the current epoch that are done."""
        return self._at.batch

    def resume(self, start: TrainingState, states: States) -> None:
        """Resume where `start` was saved, with the random generators' `states`."""
        self._at, self.losses = start.position, list(start.losses)
        self.started_at, self._states = start.started_at, states
        self._saver.saved_step = start.step
        self.batches.resume(start, states)

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
        """Call the optimizer's `step`; if all its batches are done, take the lock first."""
        if self._parts.accelerator.sync_gradients and not self._is_updating:
            device = self._parts.accelerator.device
            if device.type == "cuda":
                # The GPU may still be busy with the backward pass. Wait for it before taking the
                # lock, so that a stop in the meantime can save the state of the previous step.
                torch.cuda.synchronize(device)
            self._lock.acquire()
            self._is_updating = True
            self._rate = float(self._parts.optimizer.param_groups[0]["lr"])
            self._guard()
            self._take_requests()
        return step(*arguments)

    def _take_requests(self) -> None:
        """If requested, make musubi-tuner save a checkpoint, or end training, after this step.

        This changes options that musubi-tuner's loop reads at every step. The state for the
        checkpoint is saved as soon as the step has been counted.
        """
        if self._is_spoiled:
            return
        args = self._parts.args
        if self._requests.wants_end():
            self._is_finishing = True
            args.max_train_steps, args.save_every_n_epochs = self._at.step + 1, None
            self.batches.end()
        elif self._requests.take_save():
            self._is_asked_to_save = True
            self._usual = args.save_every_n_steps, args.save_state
            args.save_every_n_steps, args.save_state = 1, False

    def _save_asked(self) -> None:
        """Save the state for a checkpoint that was requested, and restore the options."""
        args = self._parts.args
        args.save_every_n_steps, args.save_state = self._usual
        self._is_asked_to_save = False
        self._save_between("asked")

    def _guard(self) -> None:
        """Save the last good state if the gradients of this step would spoil the weights."""
        # A loss scaler needs no such check: it skips every step whose gradients are not finite.
        if self._is_spoiled or self._parts.accelerator.scaler is not None:
            return
        gradients = [w.grad for w in self._parts.network.parameters() if w.grad is not None]
        if bool(torch.nn.utils.get_total_norm(gradients).isfinite()):
            return
        if self._at.step > self._saver.saved_step:
            self._save_between("broken")
        self._is_spoiled = True

    def end_batch(self, loss: float) -> None:
        """Count a batch; if the optimizer took a step after it, count and report the step too."""
        index = self._at.batch
        self.losses[index : index + 1] = [loss]
        self._at = replace(self._at, batch=index + 1)
        if not self._is_updating:
            return
        self._at = replace(self._at, step=self._at.step + 1)
        self._states = randomness.snapshot(self._parts.accelerator.step)
        self._report(loss)
        if self._loss_watch.see(self._at.step, loss, self.batches.items):
            self._end_broken()
        is_due = time.monotonic() - self._saver.saved_at >= self._state_seconds
        if self._is_asked_to_save:
            self._save_asked()
        elif is_due and not self._is_spoiled:
            self._save_between("time")
        self._is_updating = False
        self._step_began = time.monotonic()
        self._lock.release()

    def _report(self, loss: float) -> None:
        step, now = self._at.step, time.monotonic()
        is_one_batch = self._parts.args.gradient_accumulation_steps == 1
        samples, tokens = (is_one_batch and self.batches.size) or (None, None)
        self._progress.write(
            StepDone(
                step=step,
                total_steps=self._total_steps,
                epoch=self._at.epoch + 1,
                loss=loss,
                average_loss=sum(self.losses) / len(self.losses),
                learning_rate=self._rate,
                seconds_per_step=now - self._step_began,
                gpu_memory_bytes=self._gpu_memory(),
                samples=samples,
                tokens=tokens,
            )
        )
        was_skipped = getattr(self._parts.optimizer, "step_was_skipped", False)
        unchanged = None if was_skipped else self._is_unchanged
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

    def _end_broken(self) -> None:
        """End the process because the loss was NaN or infinite; files saved earlier stay usable."""
        watch = self._loss_watch
        step = watch.first_step or self._at.step
        items = watch.items[:MOST_ITEMS]
        self._progress.write(LossBroke(step=step, epoch=self._at.epoch + 1, items=items))
        raise SystemExit(EXIT_BROKE)

    def save_weights(self, save: Callable[..., Any], file: str, *arguments: object) -> None:
        if self._is_spoiled:
            return
        with self._lock:
            reached = self._reached()
            if self._is_finishing:
                # musubi-tuner would store the planned number of epochs, not the number reached.
                metadata: Any = arguments[-1]
                metadata["ss_epoch"] = str(reached.epoch)
            self._saver.save_weights(save, file, reached, *arguments)

    def save_state(self, path: str) -> None:
        """Save a training state; musubi-tuner calls this instead of accelerate's `save_state`."""
        with self._lock:
            states = self._states if self._is_finishing else None
            self._saver.save_state(Path(path), self._record(self._reason), states)

    def save_epoch(self, epoch: int, save: Callable[[], Any]) -> None:
        """At the end of `epoch`, call musubi-tuner's `save`, which saves and removes states."""
        with self._lock:
            self._at, self._reason = replace(self._at, epoch=epoch, batch=0), "epoch"
            if not self._is_spoiled:
                save()

    def save_end(self, save: Callable[[], Any]) -> None:
        with self._lock:
            if self._is_spoiled or self._loss_watch.is_broken:
                self._end_broken()
            if not self._is_finishing:
                self._at = replace(self._at, epoch=self._epochs, batch=0)
            self._reason = "end"
            save()

    def finish(self) -> None:
        """Take the lock and keep it: everything is saved, so a stop request must not save again."""
        self._lock.acquire()
        if self._is_spoiled:
            self._end_broken()

    def stop(self) -> int:
        """Save a state after the last finished step and return the exit code.

        A second thread calls this and keeps the lock, so that the main thread takes no more steps.
        """
        self._lock.acquire()
        if self._at.step > self._saver.saved_step and not self._is_spoiled:
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
        # On the default stream, copying tensors from the GPU would wait until the running step
        # ends; on another stream of normal priority, each copy would wait for a kernel. With 5 s of
        # a step left on an H100, copying 400 tensors took 5.3 s with normal and 1.4 s with high
        # priority.
        with torch.cuda.stream(torch.cuda.Stream(device, priority=-1)):
            self._saver.save_state(path, self._record(reason), self._states)

    def _reached(self) -> Position:
        """Return the position to report for the checkpoint being saved; count an unfinished epoch.

        musubi-tuner saves a checkpoint before it records the loss of the step. At that time, the
        step has not been counted yet, so it is added here.
        """
        at = self._at
        if self._is_updating:
            return replace(at, epoch=at.epoch + 1, step=at.step + 1)
        return replace(at, epoch=at.epoch + 1) if at.batch > 0 else at

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
            started_at=self.started_at,
            losses=self.losses,
            order_seed=self.batches.order_seed if at.batch > 0 else None,
            fast=self._fast(),
        )
