"""The `training_state.json` in every training state.

Both engines write it, so that one stage resumes the states of either. Only the standard library
is imported, because this also runs in musubi-tuner's environment.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

STATE_FILE = "training_state.json"
_KEPT_STATES = 2  # of either kind

Reason = Literal["epoch", "steps", "time", "stop", "end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Training progress: finished epochs, batches of the current one, optimizer steps."""

    epoch: int = 0
    batch: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """The content of `training_state.json`.

    `losses` holds the latest loss of each batch of an epoch; `order_seed` is the seed of the
    current epoch's batch order if it does not follow from `seed`.
    """

    epoch: int
    batch: int
    step: int
    total_steps: int
    total_epochs: int
    output_name: str
    training_comment: str | None
    seed: int
    reason: Reason
    started_at: float
    losses: list[float]
    order_seed: int | None = None

    @property
    def position(self) -> Position:
        """Where training resumes."""
        return Position(epoch=self.epoch, batch=self.batch, step=self.step)

    def encode(self) -> bytes:
        """Return the content of `training_state.json`."""
        return json.dumps(asdict(self)).encode()


def read_state(directory: Path) -> TrainingState:
    """Return the record in a state directory.

    Raises:
        ValueError: It has no readable record.
    """
    try:
        return TrainingState(**json.loads((directory / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{directory} holds no readable {STATE_FILE}.") from error


def superseded_states(directory: Path, output_name: str) -> list[Path]:
    """Return all states except the newest two saved on schedule and the newest two in between.

    Trainers delete none themselves, because a state may be being copied.
    """
    found = _states(directory, f"{output_name}-*-state")
    between = [path for path, state in found if state.reason in ("time", "stop")]
    asked = [path for path, _ in found if path not in between]
    return [*between[:-_KEPT_STATES], *asked[:-_KEPT_STATES]]


def _states(directory: Path, names: str) -> list[tuple[Path, TrainingState]]:
    """Return the readable states with such names, ordered by step."""
    found: list[tuple[Path, TrainingState]] = []
    for path in sorted(directory.glob(names)):
        with suppress(ValueError):
            found.append((path, read_state(path)))
    return sorted(found, key=lambda one: one[1].step)


def step_state_name(output_name: str, step: int) -> str:
    """Return the name of the state saved after `step` steps."""
    return f"{output_name}-step{step:08d}-state"
