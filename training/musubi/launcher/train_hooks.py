"""Hooks into musubi-tuner's train script; with them, `TrainingRun` follows and resumes training."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from torch.optim.lr_scheduler import LambdaLR

from training.musubi.launcher import randomness
from training.musubi.launcher.batches import ITEMS
from training.musubi.launcher.hooks import OFF, Function, HookError, HookPoint, with_start_values
from training.musubi.launcher.run import Parts, TrainingRun
from training.musubi.progress import EXIT_STOPPED, ProgressWriter
from training.musubi.requests import NO_REQUESTS, TrainerRequests
from training.musubi.state import TrainingState, read_state
from training.runs.training_events import FastRefused

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
        *("args", "accelerator", "training_started_at", "train_dataloader", "transformer"),
        *("network", "optimizer"),
    ),
)
COMPUTE = HookPoint(_TRAINER, "NetworkTrainer.process_batch", ("batch",))
BAR = HookPoint(_TRAINER, "tqdm")
LOSSES = HookPoint(_STATES, "LossRecorder")
ADD_LOSS = HookPoint(_STATES, "LossRecorder.add", ("epoch", "step", "loss"))
SAVE_EPOCH = HookPoint(
    _STATES, "save_and_remove_state_on_epoch_end", ("args", "accelerator", "epoch_no")
)
SAVE_END = HookPoint(_STATES, "save_state_on_train_end", ("args", "accelerator"))
BATCH = HookPoint("musubi_tuner.dataset.bucket", "BucketBatchManager.__getitem__", ("idx",))
CACHE_FILES = HookPoint("musubi_tuner.dataset.image_video_dataset", "glob.glob", ("pathname",))

POINTS = (
    *(CHECK_ARGUMENTS, RESUME, LOOP, COMPUTE, BAR, LOSSES, ADD_LOSS, SAVE_EPOCH, SAVE_END, BATCH),
    CACHE_FILES,
)
# musubi-tuner's own schedules that compute the rate from the step number alone.
_CLOSED_FORM = ("RexLR",)
_COUNTERS = ("last_epoch", "_step_count", "_last_lr")


class ResumeError(Exception):
    """The training state named by `--resume` is unreadable, or training uses several GPUs."""


class TrainHooks:
    """Connects one `TrainingRun` to musubi-tuner's trainer.

    Args:
        progress: Where events are written.
        state_seconds: Seconds between training states.
        fast: `off`, or the number format of compiled steps.
        requests: The requests that the stage makes while training runs.
    """

    def __init__(
        self,
        progress: ProgressWriter,
        state_seconds: float,
        fast: str = OFF,
        requests: TrainerRequests = NO_REQUESTS,
    ) -> None:
        self._progress, self._state_seconds, self._fast = progress, state_seconds, fast
        self._requests = requests
        self._start: TrainingState | None = None
        self._run: TrainingRun | None = None
        self._fast_record: Callable[[], str | None] = lambda: None

    def install(self) -> None:
        """Install every hook.

        Raises:
            HookError: musubi-tuner's code is not as expected; nothing has been replaced.
        """
        for point in POINTS:
            point.check()
        CACHE_FILES.replace(_sorted)
        BATCH.replace(_with_items)
        CHECK_ARGUMENTS.replace(self._check_arguments)
        RESUME.replace(_resume_schedule)
        LOOP.replace(self._loop)
        BAR.replace(self._bar)
        LOSSES.replace(self._recorder)
        SAVE_EPOCH.replace(self._save_epoch)
        SAVE_END.replace(self._save_end)
        if self._fast != OFF:
            LOOP.replace(self._fast_loop)

    def stop(self) -> int:
        return EXIT_STOPPED if self._run is None else self._run.stop()

    @property
    def run(self) -> TrainingRun:
        """The training run; exists as soon as the training loop has begun."""
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

        @wraps(original)
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

    def _fast_loop(self, original: Function) -> Function:
        """Wrap the already hooked loop, so that its model's blocks run compiled."""
        signature = inspect.signature(original)
        # Import this only here, because only compiled training needs these Python modules.
        from training.musubi.launcher.fast.start import started  # noqa: PLC0415

        def loop(*positional: Any, **named: Any) -> None:
            given = signature.bind(*positional, **named).arguments
            accelerator, network = given["accelerator"], given["network"]
            session = started(
                self._fast,
                accelerator,
                given["transformer"],
                pause_saving=lambda: self.run.saving_paused,
                on_refused=lambda reason: self._progress.write(FastRefused(reason=reason)),
                previous=self._start.fast if self._start else None,
            )
            self._fast_record = lambda: session.record

            def computing(compute: Function) -> Function:
                return lambda *given, **named: session.compute(lambda: compute(*given, **named))

            def differentiating(backward: Function) -> Function:
                def differentiate(loss: Any) -> None:
                    session.differentiate(backward, network, loss)

                return differentiate

            COMPUTE.replace(computing)
            _wrap(accelerator, "backward", differentiating)
            original(*positional, **named)

        return loop

    def _begin(self, parts: Parts) -> TrainingRun:
        if parts.accelerator.num_processes != 1:
            raise ResumeError("The launcher trains on one GPU; start one process per expert.")
        run = TrainingRun(
            parts, self._progress, self._state_seconds, self._fast_record, self._requests
        )
        if self._start is not None:
            run.resume(self._start, randomness.read(Path(parts.args.resume)))
        _wrap(parts.optimizer, "step", lambda step: lambda *a: run.update(step, *a))
        _wrap(parts.network, "save_weights", lambda save: lambda *a: run.save_weights(save, *a))
        _wrap(parts.accelerator, "save_state", lambda _: run.save_state)
        self._run = run  # set before `announce`, because a stop may follow at once
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
            """musubi-tuner's loss recorder, which begins with the losses of the resumed state."""

            def __init__(self) -> None:
                super().__init__()
                self.loss_list = list(hooks.run.losses)
                self.loss_total = sum(self.loss_list)

            def add(self, *, epoch: int, step: int, loss: float) -> None:  # noqa: ARG002
                # `step` may be wrong: musubi-tuner's loop counts from 0 even in a resumed epoch.
                super().add(epoch=epoch, step=hooks.run.batch, loss=loss)
                hooks.run.end_batch(loss)

        return LossRecorder

    def _save_epoch(self, original: Function) -> Function:
        def save(args: Any, accelerator: Any, epoch_no: int) -> None:
            self.run.save_epoch(epoch_no, lambda: original(args, accelerator, epoch_no))

        return save

    def _save_end(self, original: Function) -> Function:
        def save(args: Any, accelerator: Any) -> None:
            self.run.save_end(lambda: original(args, accelerator))

        return save


def _readable(args: Any) -> TrainingState:
    try:
        return read_state(Path(args.resume))
    except ValueError as error:
        raise ResumeError(f"{error} Only states saved by the launcher can be resumed.") from error


def _wrap(owner: Any, name: str, wrap: Callable[[Function], Function]) -> None:
    original = getattr(owner, name, None)
    if original is None:
        raise HookError(f"{type(owner).__module__}.{type(owner).__qualname__}.{name}", "is missing")
    setattr(owner, name, wrap(original))


def _with_items(original: Function) -> Function:
    def batch(manager: Any, idx: int) -> Any:
        tensors = original(manager, idx)
        bucket, number = manager.bucket_batch_indices[idx]
        start = number * manager.batch_size
        items = manager.buckets[bucket][start : start + manager.batch_size]
        tensors[ITEMS] = [Path(item.latent_cache_path).name for item in items]
        return tensors

    return batch


def _sorted(original: Function) -> Function:
    def in_order(pathname: str, **named: Any) -> list[str]:
        # `glob` lists files in a different order on each machine, and the batch order depends on
        # it.
        return sorted(original(pathname, **named))

    return in_order


def _resume_schedule(original: Function) -> Function:
    """Wrap musubi-tuner's loading of a state, so that schedules end at this run's last step.

    Otherwise they would take over the number of steps that the run had when the state was saved.
    """

    def resumed(trainer: Any, accelerator: Any, args: Any) -> Any:
        # This function does not receive the schedules, so take them from accelerate's private list.
        schedules: list[Any] = [wrapped.scheduler for wrapped in accelerator._schedulers]
        before: list[dict[str, Any]] = [{**vars(schedule)} for schedule in schedules]
        result = original(trainer, accelerator, args)
        if args.resume and read_state(Path(args.resume)).total_steps != args.max_train_steps:
            for schedule, fresh in zip(schedules, before, strict=True):
                _stretch(schedule, fresh)
        return result

    return resumed


def _stretch(schedule: Any, fresh: dict[str, Any]) -> None:
    """After a state has been loaded, make the schedule end at this run's last step again.

    Loading overwrote the schedule's number of steps; `fresh` holds the schedule's attributes from
    before the loading.
    """
    if type(schedule) is not LambdaLR and type(schedule).__name__ not in _CLOSED_FORM:
        return
    counters = {name: vars(schedule)[name] for name in _COUNTERS if name in vars(schedule)}
    vars(schedule).update({**fresh, **counters})
    # `step()` first adds 1 to the counter and then computes the rate, so subtract 1 now.
    schedule.last_epoch -= 1
    schedule.step()
