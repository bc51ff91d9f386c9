"""The file `training_state.json`, which records the progress of training when a state was saved.

Both engines write it into every training state, so stages read the states of both in one way. This
module imports only the standard library, because it also runs in musubi-tuner's environment.
"""

import json
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

STATE_FILE = "training_state.json"
_BLOCK_BYTES = 1 << 20
_KEPT_STATES = 2  # how many states of each kind are kept

Reason = Literal["epoch", "steps", "time", "asked", "stop", "broken", "end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Training progress: finished epochs, batches finished in this epoch, and optimizer steps."""

    epoch: int = 0
    batch: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """The content of `training_state.json`.

    `losses` holds the latest loss at each batch position; positions not reached in this epoch keep
    the loss of the epoch before. `order_seed` is the seed of this epoch's batch order; None if the
    state was saved between epochs, or if `seed` determines the order, as in a rehearsal. `fast`
    says how compiled steps were computed, or why they were not; None if they were not requested.
    `files` maps the names of the state's other files to their sizes and CRC-32; it is None in
    states of earlier versions.
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
    fast: str | None = None
    files: dict[str, list[int]] | None = None

    @property
    def position(self) -> Position:
        return Position(epoch=self.epoch, batch=self.batch, step=self.step)

    def encode(self) -> bytes:
        record = asdict(self)
        if self.fast is None:
            del record["fast"]
        return json.dumps(record).encode()


def write_state(directory: Path, record: TrainingState) -> None:
    """Write the record, with size and CRC-32 of the state's other files, to the state's directory.

    The other files must be complete.
    """
    files = {path.name: _facts(path) for path in sorted(directory.iterdir()) if path.is_file()}
    (directory / STATE_FILE).write_bytes(replace(record, files=files).encode())


def damaged_file(directory: Path, record: TrainingState) -> str | None:
    """Return the name of a file that is missing or has changed since it was saved; else None."""
    for name, facts in (record.files or {}).items():
        try:
            if _facts(directory / name) != facts:
                return name
        except FileNotFoundError:
            return name
    return None


def _facts(path: Path) -> list[int]:
    crc32 = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            crc32 = zlib.crc32(block, crc32)
    return [path.stat().st_size, crc32]


def read_state(directory: Path) -> TrainingState:
    """Return the content of a state's `training_state.json`.

    Raises:
        ValueError: The file is missing or unreadable.
    """
    try:
        return TrainingState(**json.loads((directory / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{directory} has no readable {STATE_FILE}.") from error


def superseded_states(states: Iterable[Path]) -> list[Path]:
    """Return the states to delete: all but the newest two of each kind.

    One kind is saved during an epoch: when some time has passed, on request, or on a stop. The
    other kind is all other states, such as those saved at the end of an epoch. The stage deletes
    these states itself, because it may still be copying a state that the trainer would delete.
    """
    found: list[tuple[Path, TrainingState]] = []
    for path in sorted(states):
        with suppress(ValueError):
            found.append((path, read_state(path)))
    found.sort(key=lambda one: one[1].step)
    between = [path for path, state in found if state.reason in ("time", "asked", "stop")]
    scheduled = [path for path, _ in found if path not in between]
    return [*between[:-_KEPT_STATES], *scheduled[:-_KEPT_STATES]]


def step_state_name(output_name: str, step: int) -> str:
    """Return the folder name of a state saved after `step` steps: `annika-step00000120-state`."""
    return f"{output_name}-step{step:08d}-state"
