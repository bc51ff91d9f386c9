"""The train script: trains an adapter of the tiny model, resumable at every step."""

import argparse
import logging
import math
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Self

import numpy as np
import torch

from training.musubi.progress import EXIT_STOPPED, ProgressWriter
from training.musubi.state import Position, Reason, TrainingState
from training.rehearsal import console
from training.rehearsal.data.datasets import read_datasets
from training.rehearsal.data.items import TrainingItems
from training.rehearsal.loop import checks
from training.rehearsal.loop.loss import FlowMatchingLoss
from training.rehearsal.loop.metadata import Counts, run_metadata
from training.rehearsal.loop.optimizer import AdamW
from training.rehearsal.loop.saving import RehearsalSaver, load_adapter, load_state
from training.rehearsal.loop.schedule import Schedule
from training.rehearsal.loop.timesteps import TimestepSampler
from training.rehearsal.model.adapter import Adapter
from training.rehearsal.model.transformer import TinyWan
from training.runs.training_events import (
    EpochEnded,
    StepDone,
    Stopped,
    TrainingStarted,
)

logger = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Set by SIGTERM and SIGINT inside the context; the current step still finishes."""

    def __init__(self) -> None:
        self.is_set = False
        self._before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

    def __enter__(self) -> Self:
        for number in _STOP_SIGNALS:
            signal.signal(number, self._set)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _set(self, number: int, frame: FrameType | None) -> None:
        del frame
        logger.info("Received %s: saving the state after this step", signal.Signals(number).name)
        self.is_set = True


_DEFAULT_RANK = 4
_DEFAULT_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Settings from environment variables, in seconds."""

    state_interval: float
    step_delay: float
    date: float | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Environment":
        """Return the settings of `LORABOT_*` and `SOURCE_DATE_EPOCH`."""
        date = environment.get("SOURCE_DATE_EPOCH")
        return cls(
            state_interval=float(environment.get("LORABOT_STATE_SECONDS") or math.inf),
            step_delay=float(environment.get("LORABOT_STEP_DELAY") or 0.0),
            date=float(date) if date else None,
        )


def train(
    args: argparse.Namespace, progress: ProgressWriter, environment: Mapping[str, str]
) -> int:
    """Run `wan_train_network.py`; return the exit code.

    Raises:
        MusubiError: musubi-tuner would refuse this run.
        OSError: A file could not be written; complete files are unaffected.
    """
    torch.set_num_threads(1)  # a fixed summation order gives the same bytes every time
    if args.seed is None:
        args.seed = _DEFAULT_SEED
    with StopRequest() as stop:
        return _Training(args, progress, Environment.read(environment)).run(stop)


class _Training:
    def __init__(
        self, args: argparse.Namespace, progress: ProgressWriter, environment: Environment
    ) -> None:
        checks.check_files(args)
        self._args, self._progress, self._environment = args, progress, environment
        datasets = read_datasets(Path(args.dataset_config))
        needs = {
            "image": checks.is_image_to_video(args.task),
            "clip": checks.needs_clip(args.task),
        }
        sampler = TimestepSampler.of(args)
        self._items = TrainingItems(datasets, seed=args.seed, **needs)
        logger.info("Loading DiT model from %s", args.dit)
        self._loss = FlowMatchingLoss(TinyWan.load(Path(args.dit)), sampler, **needs)
        console.say(f"import network module: {args.network_module}")
        self._adapter = self._build_adapter(clip=needs["clip"])
        self._optimizer = AdamW(self._adapter.parameter, args)
        self._count_steps()
        self._schedule = Schedule(args, self._total_steps)
        self._saver = RehearsalSaver(
            args, self._adapter, self._optimizer, progress, environment.date
        )
        self._started_at, self._losses = self._saver.now(), list[float]()
        self._at = Position()
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
        rank = args.network_dim or _DEFAULT_RANK
        adapter = Adapter(clip=clip, rank=rank, alpha=float(args.network_alpha), seed=args.seed)
        modules = len(adapter.tensors()) // 3
        logger.info("create LoRA network. base dim (rank): %s, alpha: %s", rank, adapter.alpha)
        logger.info("create LoRA for U-Net/DiT: %d modules.", modules)
        if args.network_weights is not None:
            info = load_adapter(Path(args.network_weights), adapter)
            console.say(f"load network weights from {args.network_weights}: {info}")
        return adapter

    def _count_steps(self) -> None:
        accumulated = self._args.gradient_accumulation_steps
        self._steps_per_epoch = math.ceil(self._items.batches_per_epoch / accumulated)
        self._total_steps = int(self._args.max_train_steps)
        if self._args.max_train_epochs is not None:
            self._total_steps = self._args.max_train_epochs * self._steps_per_epoch
            console.say(
                f"override steps. steps for {self._args.max_train_epochs} epochs is / "
                f"指定エポックまでのステップ数: {self._total_steps}"
            )
        self._epochs = math.ceil(self._total_steps / self._steps_per_epoch)

    def _resume(self, directory: Path) -> None:
        state = load_state(directory, self._adapter, self._optimizer)
        self._at, self._losses = state.position, list(state.losses)
        self._started_at = state.started_at
        console.say(f"resume training from epoch {state.epoch}, step {state.step}")

    def run(self, stop: StopRequest) -> int:
        """Train to the end, or until stopped."""
        self._announce()
        self._bar = console.StepBar(self._total_steps, self._at.step)
        self._saved_at = time.monotonic()
        while self._at.epoch < self._epochs and not stop.is_set:
            console.say(f"\nepoch {self._at.epoch + 1}/{self._epochs}")
            if not self._run_epoch(stop):
                break
            self._end_epoch()
        self._bar.close()
        if self._at.epoch < self._epochs:
            if self._at.step > self._saver.saved_step:
                self._saver.save_timed_state(self._state("stop"))
            self._progress.write(Stopped(step=self._at.step, epoch=self._at.epoch))
            return EXIT_STOPPED
        self._saver.save_end(self._state("end"), self._metadata)
        return 0

    def _announce(self) -> None:
        args, at = self._args, self._at
        for line in (
            "running training / 学習開始",
            f"  num train items / 学習画像、動画数: {self._items.count}",
            f"  num batches per epoch / 1epochのバッチ数: {self._items.batches_per_epoch}",
            f"  num epochs / epoch数: {self._epochs}",
            "  gradient accumulation steps / 勾配を合計するステップ数 = "
            f"{args.gradient_accumulation_steps}",
            f"  total optimization steps / 学習ステップ数: {self._total_steps}",
        ):
            console.say(line)
        self._progress.write(
            TrainingStarted(
                step=at.step,
                total_steps=self._total_steps,
                steps_per_epoch=self._steps_per_epoch,
                epoch=at.epoch,
                total_epochs=self._epochs,
            )
        )

    def _run_epoch(self, stop: StopRequest) -> bool:
        """Run the remaining steps of the epoch; return whether it was completed."""
        epoch = self._at.epoch
        batches = self._items.batches(epoch)
        size = self._args.gradient_accumulation_steps
        for start in range(self._at.batch, len(batches), size):
            if self._at.step >= self._total_steps:
                break
            if stop.is_set:
                return False
            began = time.monotonic()
            gradient = torch.zeros_like(self._adapter.parameter)
            loss = 0.0
            for index in range(start, min(start + size, len(batches))):
                random = np.random.default_rng([self._args.seed, epoch, index])
                value = self._loss(batches[index], self._adapter, random)
                gradient += torch.autograd.grad(value, self._adapter.parameter)[0] / size
                loss = value.item()
                self._record(index, loss)
            rate = self._schedule.rate(self._at.step)
            self._optimizer.step(gradient, rate, self._args.max_grad_norm)
            done = min(start + size, len(batches))
            self._at = replace(self._at, batch=done, step=self._at.step + 1)
            time.sleep(self._environment.step_delay)
            self._end_step(loss, rate, time.monotonic() - began)
        return not stop.is_set or self._at.step >= self._total_steps

    def _record(self, index: int, loss: float) -> None:
        # musubi's average: the latest loss of each batch of an epoch.
        if index < len(self._losses):
            self._losses[index] = loss
        else:
            self._losses.append(loss)

    def _end_step(self, loss: float, rate: float, seconds: float) -> None:
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
            )
        )
        every = self._args.save_every_n_steps
        if every is not None and step % every == 0:
            self._saver.save_steps(self._state("steps"), self._metadata)
        if time.monotonic() - self._saved_at >= self._environment.state_interval:
            self._saver.save_timed_state(self._state("time"))
            self._saved_at = time.monotonic()

    def _end_epoch(self) -> None:
        self._at = replace(self._at, epoch=self._at.epoch + 1, batch=0)
        epoch = self._at.epoch
        self._progress.write(EpochEnded(epoch=epoch, step=self._at.step))
        every = self._args.save_every_n_epochs
        if every is not None and epoch % every == 0 and epoch < self._epochs:
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
