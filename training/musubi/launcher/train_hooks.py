"""The hooks in musubi-tuner's training."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.musubi.launcher import randomness, schedule
from training.musubi.launcher.hooks import Function, HookError, HookPoint, with_start_values
from training.musubi.launcher.run import Parts, TrainingRun
from training.musubi.progress import EXIT_STOPPED, ProgressWriter
from training.musubi.state import TrainingState, read_state

_TRAINER = "musubi_tuner.training.trainer_base"
_STATES = "musubi_tuner.utils.train_utils"

CHECK_ARGUMENTS = HookPoint(_TRAINER, "NetworkTrainer._validate_args_and_init", ("args",))
RESUME = HookPoint(
    _TRAINER, "NetworkTrainer.resume_from_local_or_hf_if_specified", ("accelerator", "args")
)
LOOP = HookPoint(
    _TRAINER,
    "NetworkTrainer._run_training_loop",
    (
        *("args", "accelerator", "training_started_at", "train_dataloader", "network"),
        "optimizer",
    ),
)
BAR = HookPoint(_TRAINER, "tqdm")
LOSSES = HookPoint(_STATES, "LossRecorder")
ADD_LOSS = HookPoint(_STATES, "LossRecorder.add", ("epoch", "step", "loss"))
SAVE_EPOCH = HookPoint(
    _STATES, "save_and_remove_state_on_epoch_end", ("args", "accelerator", "epoch_no")
)
SAVE_STEP = HookPoint(_STATES, "save_and_remove_state_stepwise", ("args", "accelerator", "step_no"))
SAVE_END = HookPoint(_STATES, "save_state_on_train_end", ("args", "accelerator"))
CACHE_FILES = HookPoint("musubi_tuner.dataset.image_video_dataset", "glob.glob", ("pathname",))

POINTS = (
    *(CHECK_ARGUMENTS, RESUME, LOOP, BAR, LOSSES, ADD_LOSS, SAVE_EPOCH, SAVE_STEP, SAVE_END),
    *(CACHE_FILES,),
)


class ResumeError(Exception):
    """The given state cannot be resumed."""


class TrainHooks:
    """Connects one `TrainingRun` to musubi-tuner's trainer."""

    def __init__(self, progress: ProgressWriter, state_seconds: float) -> None:
        self._progress, self._state_seconds = progress, state_seconds
        self._start: TrainingState | None = None
        self._run: TrainingRun | None = None

    def install(self) -> None:
        """Install every hook.

        Raises:
            HookError: A hook point is not as expected; nothing has been changed.
        """
        for point in POINTS:
            point.check()
        CACHE_FILES.replace(_sorted)
        CHECK_ARGUMENTS.replace(self._check_arguments)
        RESUME.replace(schedule.resume)
        LOOP.replace(self._loop)
        BAR.replace(self._bar)
        LOSSES.replace(self._recorder)
        SAVE_EPOCH.replace(self._save_epoch)
        SAVE_STEP.replace(self._save_step)
        SAVE_END.replace(self._save_end)

    def stop(self) -> int:
        """Save the training state; return the exit code."""
        return EXIT_STOPPED if self._run is None else self._run.stop()

    @property
    def run(self) -> TrainingRun:
        """The training run; set once its loop has begun."""
        if self._run is None:
            raise ValueError("the training loop has not begun")
        return self._run

    def _check_arguments(self, original: Function) -> Function:
        def checked(trainer: Any, args: Any) -> Any:
            if args.resume:
                self._start = _readable(args)
            return original(trainer, args)

        return checked

    def _loop(self, original: Function) -> Function:
        signature = inspect.signature(original)
        counted = with_start_values(
            original,
            {
                "epoch_to_start": lambda: self._start.epoch if self._start else 0,
                "global_step": lambda: self._start.step if self._start else 0,
            },
        )

        def loop(*positional: Any, **named: Any) -> None:
            call = signature.bind(*positional, **named)
            given = call.arguments
            parts = Parts(
                args=given["args"],
                accelerator=given["accelerator"],
                network=given["accelerator"].unwrap_model(given["network"]),
                optimizer=given["optimizer"],
                loader=given["train_dataloader"],
            )
            run = self._begin(parts)
            given["train_dataloader"] = run.batches
            given["training_started_at"] = run.started_at
            counted(*call.args, **call.kwargs)
            run.finish()

        return loop

    def _begin(self, parts: Parts) -> TrainingRun:
        if parts.accelerator.num_processes != 1:
            raise ResumeError("The launcher trains on one GPU; start one process for each expert.")
        run = TrainingRun(parts, self._progress, self._state_seconds)
        if self._start is not None:
            run.go_on(self._start, randomness.read(Path(parts.args.resume)))
        _wrap(parts.optimizer, "step", lambda step: lambda *a: run.update(step, *a))
        _wrap(parts.network, "save_weights", lambda save: lambda *a: run.save_weights(save, *a))
        _wrap(parts.accelerator, "save_state", lambda _: run.save_state)
        self._run = run  # before the announcement, so that a stop finds it
        run.announce()
        return run

    def _bar(self, original: Function) -> Function:
        def bar(*positional: Any, **named: Any) -> Any:
            if named.get("desc") == "steps" and self._start is not None:
                named["initial"] = self._start.step
            return original(*positional, **named)

        return bar

    def _recorder(self, original: type[Any]) -> type[Any]:
        hooks = self

        class LossRecorder(original):
            """musubi-tuner's recorder, continuing with the losses of the resumed state."""

            def __init__(self) -> None:
                super().__init__()
                self.loss_list = list(hooks.run.losses)
                self.loss_total = sum(self.loss_list)

            def add(self, *, epoch: int, step: int, loss: float) -> None:  # noqa: ARG002
                # The loop counts from 0 even in a resumed epoch.
                super().add(epoch=epoch, step=hooks.run.batch, loss=loss)
                hooks.run.end_batch(loss)

        return LossRecorder

    def _save_epoch(self, original: Function) -> Function:
        def save(args: Any, accelerator: Any, epoch_no: int) -> None:
            self.run.save_epoch(epoch_no, lambda: original(args, accelerator, epoch_no))

        return save

    def _save_step(self, original: Function) -> Function:
        def save(args: Any, accelerator: Any, step_no: int) -> None:
            self.run.save_step(lambda: original(args, accelerator, step_no))

        return save

    def _save_end(self, original: Function) -> Function:
        def save(args: Any, accelerator: Any) -> None:
            self.run.save_end(lambda: original(args, accelerator))

        return save


def _readable(args: Any) -> TrainingState:
    if args.resume_from_huggingface:
        raise ResumeError("The launcher resumes from a folder, not from the Hugging Face Hub.")
    try:
        return read_state(Path(args.resume))
    except ValueError as error:
        raise ResumeError(
            f"{error} Only a state that the launcher saved can be resumed."
        ) from error


def _wrap(owner: Any, name: str, wrap: Callable[[Function], Function]) -> None:
    original = getattr(owner, name, None)
    if original is None:
        raise HookError(f"{type(owner).__module__}.{type(owner).__qualname__}.{name}", "is missing")
    setattr(owner, name, wrap(original))


def _sorted(original: Function) -> Function:
    def in_order(pathname: str, **named: Any) -> list[str]:
        # Directory order differs between machines, and the batch order depends on it.
        return sorted(original(pathname, **named))

    return in_order
