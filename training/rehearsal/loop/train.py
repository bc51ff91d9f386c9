"""The rehearsal's train script: trains an adapter of the tiny model; can resume at every step."""

import argparse
import logging
import math
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import FrameType

import numpy as np

from training.musubi.progress import EXIT_BROKE, EXIT_STOPPED, ProgressWriter
from training.musubi.requests import TrainerRequests
from training.musubi.state import Position, Reason, TrainingState
from training.rehearsal import console
from training.rehearsal.data.datasets import read_datasets
from training.rehearsal.data.items import RehearsalItem, TrainingItems
from training.rehearsal.hold import TRAINING, Hold
from training.rehearsal.loop import checks
from training.rehearsal.loop.loss import FlowMatchingLoss, TimestepSampler
from training.rehearsal.loop.metadata import Counts, run_metadata
from training.rehearsal.loop.optimizer import AdamW, up_ratio
from training.rehearsal.loop.saving import RehearsalSaver, load_adapter, load_state
from training.rehearsal.loop.schedule import Schedule
from training.rehearsal.model.adapter import Adapter
from training.rehearsal.model.transformer import TinyWan
from training.runs.training_events import (
    EpochEnded,
    LossBroke,
    StepDone,
    Stopped,
    TrainingStarted,
    Warned,
)
from training.runs.training_health import LossWatch, TroubleWatch

logger = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def _stop_requests() -> Generator[Event]:
    """Yield an event; SIGTERM and SIGINT set it instead of ending the process mid-step."""
    requested = Event()

    def request(number: int, _frame: FrameType | None) -> None:
        logger.info("Received %s: saving the state after this step", signal.Signals(number).name)
        requested.set()

    before = {number: signal.signal(number, request) for number in _STOP_SIGNALS}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(
    args: argparse.Namespace, progress: ProgressWriter, environment: Mapping[str, str]
) -> int:
    """Do what `wan_train_network.py` does; return its exit code.

    Raises:
        MusubiError: musubi-tuner would reject this run.
        OSError: A file could not be written; files that were complete before are unchanged.
    """
    if args.seed is None:
        args.seed = 0
    # No NumPy warnings about NaN and infinity: the loop itself reports a loss that is not finite.
    with _stop_requests() as stop, np.errstate(all="ignore"):
        return _Training(args, progress, environment).run(stop)


class _Training:
    def __init__(
        self, args: argparse.Namespace, progress: ProgressWriter, environment: Mapping[str, str]
    ) -> None:
        checks.check_files(args)
        self._args, self._progress = args, progress
        self._state_seconds = float(environment.get("LORABOT_STATE_SECONDS") or math.inf)
        self._step_delay = float(environment.get("LORABOT_STEP_DELAY") or 0.0)
        self._hold = Hold(environment, TRAINING)
        self._requests, self._is_over = TrainerRequests(environment), False
        date = environment.get("SOURCE_DATE_EPOCH")
        datasets = read_datasets(Path(args.dataset_config))
        needs = checks.needs(args.task)
        sampler = TimestepSampler.of(args)
        self._items = TrainingItems(datasets, seed=args.seed, **needs)
        logger.info("Loading DiT model from %s", args.dit)
        self._loss = FlowMatchingLoss(TinyWan.load(Path(args.dit)), sampler, **needs)
        console.say(f"import network module: {args.network_module}")
        self._adapter = self._build_adapter(clip=needs["clip"])
        ratio = up_ratio(args)
        rates = self._adapter.rates(ratio) if ratio is not None else None
        self._optimizer = AdamW(self._adapter.parameter, args, rates)
        self._count_steps()
        self._schedule = Schedule(args, self._total_steps)
        self._saver = RehearsalSaver(
            args, self._adapter, self._optimizer, progress, float(date) if date else None
        )
        self._started_at, self._losses = self._saver.now(), list[float]()
        self._at = Position()
        self._loss_watch, self._is_spoiled = LossWatch(), False
        self._trouble = TroubleWatch(warmup_steps=0, total_steps=self._total_steps)
        if args.resume is not None:
            self._resume(Path(args.resume))
        counts = Counts(
            items=self._items.count,
            batches_per_epoch=self._items.batches_per_epoch,
            epochs=self._epochs,
            steps=self._total_steps,
        )
        self._metadata = run_metadata(
            args,
            datasets,
            counts,
            optimizer=self._optimizer.description,
            started_at=self._started_at,
        )

    def _build_adapter(self, *, clip: bool) -> Adapter:
        args = self._args
        rank = args.network_dim or 4
        adapter = Adapter(clip=clip, rank=rank, alpha=float(args.network_alpha), seed=args.seed)
        modules = len(adapter.tensors()) // 3
        logger.info("create LoRA network. base dim (rank): %s, alpha: %s", rank, adapter.alpha)
        logger.info("create LoRA for U-Net/DiT: %d modules.", modules)
        if args.network_weights is not None:
            info = load_adapter(Path(args.network_weights), adapter)
            console.say(f"load network weights from {args.network_weights}: {info}")
        return adapter

    def _count_steps(self) -> None:
        per_epoch = self._items.batches_per_epoch
        self._total_steps = int(self._args.max_train_steps)
        if self._args.max_train_epochs is not None:
            self._total_steps = self._args.max_train_epochs * per_epoch
            console.say(
                f"override steps. steps for {self._args.max_train_epochs} epochs is / "
                f"指定エポックまでのステップ数: {self._total_steps}"
            )
        self._epochs = math.ceil(self._total_steps / per_epoch)

    def _resume(self, directory: Path) -> None:
        state = load_state(directory, self._adapter, self._optimizer)
        self._at, self._losses = state.position, list(state.losses)
        self._started_at = state.started_at
        console.say(f"resume training from epoch {state.epoch}, step {state.step}")

    def run(self, stop: Event) -> int:
        """Train to the end, or until `stop` is set or an early finish is requested.

        Returns:
            The exit code.
        """
        self._announce()
        self._bar = console.StepBar(self._total_steps, self._at.step)
        self._saved_at = time.monotonic()
        while self._at.epoch < self._epochs and not stop.is_set():
            console.say(f"\nepoch {self._at.epoch + 1}/{self._epochs}")
            if not self._run_epoch(stop):
                break
            self._end_epoch()
        self._bar.close()
        if self._is_spoiled:
            return self._end_broken()
        if self._at.epoch < self._epochs and not self._is_over:
            if self._at.step > self._saver.saved_step:
                self._saver.save_between(self._state("stop"))
            self._progress.write(Stopped(step=self._at.step, epoch=self._at.epoch))
            return EXIT_STOPPED
        self._saver.save_end(self._state("end"), self._metadata)
        return 0

    def _end_broken(self) -> int:
        """Report that the loss was NaN or infinite and return the exit code.

        Files saved earlier are not affected.
        """
        watch = self._loss_watch
        step = watch.first_step or self._at.step
        self._progress.write(LossBroke(step=step, epoch=self._at.epoch + 1, items=watch.items))
        return EXIT_BROKE

    def _announce(self) -> None:
        per_epoch = self._items.batches_per_epoch
        for line in (
            "running training / 学習開始",
            f"  num train items / 学習画像、動画数: {self._items.count}",
            f"  num batches per epoch / 1epochのバッチ数: {per_epoch}",
            f"  num epochs / epoch数: {self._epochs}",
            "  gradient accumulation steps / 勾配を合計するステップ数 = 1",
            f"  total optimization steps / 学習ステップ数: {self._total_steps}",
        ):
            console.say(line)
        self._progress.write(
            TrainingStarted(
                step=self._at.step,
                total_steps=self._total_steps,
                steps_per_epoch=per_epoch,
                epoch=self._at.epoch,
                total_epochs=self._epochs,
            )
        )

    def _run_epoch(self, stop: Event) -> bool:
        """Run the remaining steps of the epoch; return False if training stopped during it."""
        epoch = self._at.epoch
        batches = self._items.batches(epoch)
        for index in range(self._at.batch, len(batches)):
            if self._at.step >= self._total_steps:
                break
            if stop.is_set():
                return False
            names = tuple(item.latent_path.name for item in batches[index])
            began = time.monotonic()
            random = np.random.default_rng([self._args.seed, epoch, index])
            value, gradient = self._loss(batches[index], self._adapter, random)
            if not self._is_spoiled and not np.isfinite(gradient).all():
                if self._at.step > self._saver.saved_step:
                    self._saver.save_between(self._state("broken"))
                self._is_spoiled = True
            # As in musubi, this averages the latest loss of each batch position in the epoch.
            self._losses[index : index + 1] = [value]
            rate = self._schedule.rate(self._at.step)
            self._optimizer.step(gradient, rate)
            self._at = replace(self._at, batch=index + 1, step=self._at.step + 1)
            time.sleep(self._step_delay)
            if self._saver.saved_step:
                self._hold.wait(stop)
            self._end_step(value, rate, time.monotonic() - began, batches[index])
            if self._must_end(value, names):
                return False
        return not stop.is_set() or self._at.step >= self._total_steps

    def _must_end(self, loss: float, names: tuple[str, ...]) -> bool:
        """Return whether to stop: losses are no longer finite, or an early end was requested."""
        if self._loss_watch.see(self._at.step, loss, names):
            return True
        self._is_over = not self._is_spoiled and self._requests.wants_end()
        return self._is_over

    def _end_step(
        self, loss: float, rate: float, seconds: float, batch: Sequence[RehearsalItem]
    ) -> None:
        average = sum(self._losses) / len(self._losses)
        step = self._at.step
        self._bar.advance(step, average)
        self._progress.write(
            StepDone(
                step=step,
                total_steps=self._total_steps,
                epoch=self._at.epoch + 1,
                loss=loss,
                average_loss=average,
                learning_rate=rate,
                seconds_per_step=seconds,
                samples=len(batch),
                tokens=batch[0].tokens,
            )
        )
        for trouble in self._trouble.look(step, loss, rate, self._adapter.is_unchanged):
            self._progress.write(Warned(trouble=trouble, step=step, epoch=self._at.epoch + 1))
        if self._is_spoiled:
            return
        if self._requests.take_save():
            self._saver.save_step(self._state("asked"), self._metadata)
            self._saved_at = time.monotonic()
        elif time.monotonic() - self._saved_at >= self._state_seconds:
            self._saver.save_between(self._state("time"))
            self._saved_at = time.monotonic()

    def _end_epoch(self) -> None:
        self._at = replace(self._at, epoch=self._at.epoch + 1, batch=0)
        epoch = self._at.epoch
        self._progress.write(EpochEnded(epoch=epoch, step=self._at.step))
        every = self._args.save_every_n_epochs
        is_due = every is not None and epoch % every == 0 and epoch < self._epochs
        if is_due and not self._is_spoiled:
            self._saver.save_epoch(self._state("epoch"), self._metadata)

    def _state(self, reason: Reason) -> TrainingState:
        return TrainingState(
            epoch=self._at.epoch,
            batch=self._at.batch,
            step=self._at.step,
            total_steps=self._total_steps,
            total_epochs=self._epochs,
            output_name=self._args.output_name,
            training_comment=self._args.training_comment,
            seed=self._args.seed,
            reason=reason,
            started_at=self._started_at,
            losses=self._losses,
        )
