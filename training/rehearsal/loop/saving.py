"""Saves adapters and training states atomically, under musubi-tuner's names."""

import argparse
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from training.files.atomic import atomic_directory, remove_partials
from training.musubi.progress import ProgressWriter
from training.musubi.state import (
    TrainingState,
    read_state,
    step_state_name,
    write_state,
)
from training.rehearsal import console, tensor_file
from training.rehearsal.loop.metadata import file_metadata
from training.rehearsal.loop.optimizer import AdamW
from training.rehearsal.model.adapter import Adapter
from training.rehearsal.musubi_error import MusubiError
from training.rehearsal.tensor_file import Floats
from training.rehearsal.torch_file import write_torch_file
from training.runs.training_events import CheckpointSaved, StateSaved

logger = logging.getLogger(__name__)


class RehearsalSaver:
    """Writes adapters and states.

    Args:
        args: The options of the train script.
        adapter: The adapter to save.
        optimizer: The optimizer whose state is saved in training states.
        progress: Receives an event when an adapter or state is complete.
        epoch_seconds: A fixed Unix time to write into files; None means the current time.
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
        """Return the Unix time to write into a file."""
        return time.time() if self._epoch_seconds is None else self._epoch_seconds

    def save_epoch(self, state: TrainingState, run: Mapping[str, str]) -> None:
        """Save the adapter at the end of an epoch; with `--save_state`, also the state."""
        name = f"{self._name}-{state.epoch:06d}"
        self._save_adapter(name, state, run)
        if self._args.save_state:
            logger.info("saving state at epoch %d", state.epoch)
            self._save_state(f"{name}-state", state)

    def save_step(self, state: TrainingState, run: Mapping[str, str]) -> None:
        """Save the adapter and state; the adapter's metadata counts an unfinished epoch as done."""
        name = f"{self._name}-step{state.step:08d}"
        self._save_adapter(name, _in_its_epoch(state), run)
        self.save_between(state)

    def save_between(self, state: TrainingState) -> None:
        """Save a state outside the schedule, for example when the run is stopped."""
        self._save_state(step_state_name(self._name, state.step), state)

    def save_end(self, state: TrainingState, run: Mapping[str, str]) -> None:
        """Save the final adapter; with `--save_state`, also the final state."""
        if self._args.save_state:
            logger.info("saving last state.")
            self._save_state(f"{self._name}-state", state)
        self._save_adapter(self._name, _in_its_epoch(state), run)
        logger.info("model saved.")

    def _save_state(self, name: str, state: TrainingState) -> None:
        path = self._directory / name
        with atomic_directory(path) as directory:
            _write_floats(directory / "model.safetensors", self._adapter.tensors())
            _write_floats(directory / "optimizer.bin", self._optimizer.state())
            write_torch_file(directory / "scheduler.bin", {"last_epoch": state.step})
            # States of random generators are not saved: seed, epoch and batch determine all random
            # numbers.
            write_torch_file(directory / "random_states_0.pkl", {"seed": state.seed})
            write_state(directory, state)
        self.saved_step = state.step
        logger.info("Saved state to %s", path)
        self._progress.write(StateSaved(path=str(path), epoch=state.epoch, step=state.step))

    def _save_adapter(self, name: str, state: TrainingState, run: Mapping[str, str]) -> None:
        path = self._directory / f"{name}.safetensors"
        console.say(f"\nsaving checkpoint: {path}")
        tensors = {
            key: tensor_file.encode(values, "BF16")
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


def _in_its_epoch(state: TrainingState) -> TrainingState:
    """Return the state; if it is from the middle of an epoch, count that epoch as finished."""
    return replace(state, epoch=state.epoch + 1) if state.batch > 0 else state


def _write_floats(path: Path, values: Mapping[str, Floats]) -> None:
    tensors = {name: tensor_file.encode(value, "F32") for name, value in values.items()}
    tensor_file.write(path, tensors, {"format": "pt"})


def _read_floats(path: Path) -> dict[str, Floats]:
    header = tensor_file.read_header(path)
    return {name: tensor_file.floats(header, name) for name in header.tensors}


def load_state(directory: Path, adapter: Adapter, optimizer: AdamW) -> TrainingState:
    """Restore adapter and optimizer from a state; return the content of `training_state.json`.

    Raises:
        MusubiError: The state is unreadable, or its adapter has a different rank.
    """
    try:
        state = read_state(directory)
    except ValueError as error:
        raise MusubiError(
            f"ValueError: {error}", "Resume from a state saved by a rehearsal."
        ) from error
    load_adapter(directory / "model.safetensors", adapter)
    optimizer.restore(_read_floats(directory / "optimizer.bin"))
    logger.info("Loaded states from %s", os.fspath(directory))
    return state


def load_adapter(path: Path, adapter: Adapter) -> str:
    """Load an adapter file into `adapter`; return torch's message on missing or unknown keys."""
    missing, unexpected = adapter.load(_read_floats(path))
    if not missing and not unexpected:
        return "<All keys matched successfully>"
    return f"_IncompatibleKeys(missing_keys={missing}, unexpected_keys={unexpected})"
