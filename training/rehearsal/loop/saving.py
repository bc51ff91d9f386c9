"""Saves adapters and training states atomically, named and pruned as in musubi-tuner."""

import argparse
import io
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.files.atomic import atomic_directory, atomic_file, remove_directory, remove_partials
from training.musubi.progress import ProgressWriter
from training.musubi.state import (
    STATE_FILE,
    TrainingState,
    read_state,
    step_state_name,
)
from training.rehearsal import console, tensor_file
from training.rehearsal.loop.metadata import file_metadata
from training.rehearsal.loop.optimizer import AdamW
from training.rehearsal.model.adapter import Adapter
from training.rehearsal.musubi_error import MusubiError
from training.rehearsal.tensor_file import DType
from training.runs.training_events import CheckpointSaved, StateSaved

logger = logging.getLogger(__name__)

_SAVE_DTYPES: dict[str | None, DType] = {
    None: "F32",
    "float": "F32",
    "fp32": "F32",
    "fp16": "F16",
    "bf16": "BF16",
}


class RehearsalSaver:
    """Writes adapters and states.

    Args:
        args: The command line.
        adapter: The adapter to save.
        optimizer: Saved with a state.
        progress: Receives an event for every complete file.
        epoch_seconds: Unix time to date files with; None uses the clock.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        adapter: Adapter,
        optimizer: AdamW,
        progress: ProgressWriter,
        epoch_seconds: float | None,
    ) -> None:
        self._args, self._adapter, self._optimizer = args, adapter, optimizer
        self._progress, self._epoch_seconds = progress, epoch_seconds
        self._directory = Path(args.output_dir)
        self._name = str(args.output_name)
        self.saved_step = 0
        self._directory.mkdir(parents=True, exist_ok=True)
        remove_partials(self._directory, self._name)

    def now(self) -> float:
        """Return the Unix time to date a file with."""
        return time.time() if self._epoch_seconds is None else self._epoch_seconds

    def save_epoch(self, state: TrainingState, run: Mapping[str, str]) -> None:
        """Save the adapter (and state) of an epoch and remove outdated ones."""
        args, epoch = self._args, state.epoch
        self._save_adapter(f"{self._name}-{epoch:06d}", state, run)
        every, kept = args.save_every_n_epochs, args.save_last_n_epochs
        if kept is not None:
            self._remove_adapter(f"{self._name}-{epoch - every * kept:06d}")
        if args.save_state:
            logger.info("saving state at epoch %d", epoch)
            self.save_state(f"{self._name}-{epoch:06d}-state", state)
            kept = args.save_last_n_epochs_state or kept
            if kept is not None:
                self._remove_state(f"{self._name}-{epoch - every * kept:06d}-state")

    def save_steps(self, state: TrainingState, run: Mapping[str, str]) -> None:
        """Save the adapter (and state) of a step and remove outdated ones."""
        args, step = self._args, state.step
        self._save_adapter(f"{self._name}-step{step:08d}", state, run)
        if args.save_state:
            logger.info("saving state at step %d", step)
            self.save_state(step_state_name(self._name, step), state)
            kept = args.save_last_n_steps_state or args.save_last_n_steps
            if (old := _old_step(step, kept, args.save_every_n_steps)) is not None:
                self._remove_state(step_state_name(self._name, old))
        old = _old_step(step, args.save_last_n_steps, args.save_every_n_steps)
        if old is not None:
            self._remove_adapter(f"{self._name}-step{old:08d}")

    def save_timed_state(self, state: TrainingState) -> None:
        """Save a state between the regular ones."""
        self.save_state(step_state_name(self._name, state.step), state)

    def save_end(self, state: TrainingState, run: Mapping[str, str]) -> None:
        """Save the final adapter, and the last state if states are enabled."""
        if self._args.save_state or self._args.save_state_on_train_end:
            logger.info("saving last state.")
            self.save_state(f"{self._name}-state", state)
        self._save_adapter(self._name, state, run)
        logger.info("model saved.")

    def save_state(self, name: str, state: TrainingState) -> None:
        """Write one state directory."""
        path = self._directory / name
        with atomic_directory(path) as directory:
            tensors = {
                key: tensor_file.encode(values, "F32")
                for key, values in self._adapter.tensors().items()
            }
            tensor_file.write(directory / "model.safetensors", tensors, {"format": "pt"})
            _write_torch(directory / "optimizer.bin", self._optimizer.state())
            _write_torch(directory / "scheduler.bin", {"last_epoch": state.step})
            # All randomness derives from seed, epoch and batch; there is no generator state.
            _write_torch(directory / "random_states_0.pkl", {"seed": state.seed})
            with atomic_file(directory / STATE_FILE) as stream:
                stream.write(state.encode())
        self.saved_step = state.step
        logger.info("Saved state to %s", path)
        self._progress.write(StateSaved(path=str(path), epoch=state.epoch, step=state.step))

    def _save_adapter(self, name: str, state: TrainingState, run: Mapping[str, str]) -> None:
        path = self._directory / f"{name}.safetensors"
        console.say(f"\nsaving checkpoint: {path}")
        dtype = _SAVE_DTYPES[self._args.save_precision]
        tensors = {
            key: tensor_file.encode(values, dtype)
            for key, values in self._adapter.tensors().items()
        }
        metadata = file_metadata(
            self._args, run, tensors, epoch=state.epoch, step=state.step, now=self.now()
        )
        tensor_file.write(path, tensors, metadata)
        self._progress.write(
            CheckpointSaved(
                path=str(path), epoch=state.epoch, step=state.step, is_final=name == self._name
            )
        )

    def _remove_adapter(self, name: str) -> None:
        path = self._directory / f"{name}.safetensors"
        if path.exists():
            console.say(f"removing old checkpoint: {path}")
            path.unlink()

    def _remove_state(self, name: str) -> None:
        path = self._directory / name
        if path.is_dir():
            logger.info("removing old state: %s", path)
            remove_directory(path)


def _old_step(step: int, kept_steps: int | None, every: int) -> int | None:
    if kept_steps is None:
        return None
    old = step - kept_steps - 1
    old -= old % every
    return old if old >= 0 else None


def _write_torch(path: Path, content: dict[str, Any]) -> None:
    # By way of memory: torch itself reports a full disk as an error of its archive format.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_file(path) as stream:
        stream.write(buffer.getbuffer())


def load_state(directory: Path, adapter: Adapter, optimizer: AdamW) -> TrainingState:
    """Restore adapter and optimizer; return where training stood.

    Raises:
        MusubiError: The state is unreadable or its adapter has another rank.
    """
    try:
        state = read_state(directory)
    except ValueError as error:
        raise MusubiError(
            f"ValueError: {error}", "Resume from a state that a rehearsal saved."
        ) from error
    load_adapter(directory / "model.safetensors", adapter)
    optimizer.restore(torch.load(directory / "optimizer.bin", weights_only=True))
    logger.info("Loaded states from %s", os.fspath(directory))
    return state


def load_adapter(path: Path, adapter: Adapter) -> str:
    """Load an adapter file into `adapter`; return torch's message about the keys."""
    header = tensor_file.read_header(path)
    missing, unexpected = adapter.load(
        {name: tensor_file.floats(header, name) for name in header.tensors}
    )
    if not missing and not unexpected:
        return "<All keys matched successfully>"
    return f"_IncompatibleKeys(missing_keys={missing}, unexpected_keys={unexpected})"
