"""Writes checkpoints and training states atomically."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.files.atomic import atomic_directory, atomic_path, remove_partials
from training.musubi.launcher import randomness
from training.musubi.launcher.randomness import States
from training.musubi.progress import ProgressWriter
from training.musubi.state import Position, TrainingState, write_state
from training.runs.training_events import CheckpointSaved, CheckpointStarted, StateSaved

# Methods of accelerate and musubi-tuner. They return `Any`, because neither is installed where this
# is type-checked.
SaveState = Callable[..., Any]
SaveWeights = Callable[..., Any]


class CheckpointSaver:
    """Writes the checkpoints and states of one run.

    Args:
        directory: The output directory.
        output_name: The prefix of all file names.
        progress: Receives an event when a checkpoint or state is complete.
        save_state: accelerate's method of that name.
    """

    def __init__(
        self, directory: Path, output_name: str, progress: ProgressWriter, save_state: SaveState
    ) -> None:
        self._name = output_name
        self._progress, self._save_state = progress, save_state
        self.saved_at = time.monotonic()
        self.saved_step = 0
        directory.mkdir(parents=True, exist_ok=True)
        remove_partials(directory, output_name)

    def save_state(self, path: Path, record: TrainingState, states: States | None = None) -> None:
        """Save a training state.

        Args:
            path: The directory of the state.
            record: The content of `training_state.json`.
            states: States of the random generators to store; None for the current states.
        """
        with atomic_directory(path) as directory:
            self._save_state(str(directory))
            if states is not None:
                randomness.write(directory, states)
            write_state(directory, record)
        self.saved_at, self.saved_step = time.monotonic(), record.step
        self._progress.write(StateSaved(path=str(path), epoch=record.epoch, step=record.step))

    def save_weights(self, save: SaveWeights, file: str, at: Position, *arguments: object) -> None:
        """Save an adapter file with musubi-tuner's `save`; it appears only when complete."""
        path = Path(file)
        self._progress.write(CheckpointStarted(path=file, epoch=at.epoch, step=at.step))
        with atomic_path(path) as partial:
            save(str(partial), *arguments)
        is_final = path.stem == self._name
        self._progress.write(
            CheckpointSaved(path=file, epoch=at.epoch, step=at.step, is_final=is_final)
        )
