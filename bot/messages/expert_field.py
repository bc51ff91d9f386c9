"""One expert on a run's card: how far it is while it trains, what it made in the end."""

import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

from bot.messages.card import Field
from bot.messages.figures import about, bar, count, loss, rate, size
from training.pipeline.run_view import RunView
from training.runs.state import Checkpoint, StageStatus
from training.vocabulary import ExpertName, StageKey, Trouble

_SHOWN_EPOCHS = 12
_TROUBLES: Mapping[Trouble, str] = MappingProxyType(
    {
        "loss_not_finite": "The loss is not a number any more. Cancel, and train again with a "
        "lower learning-rate.",
        "learning_rate_zero": "The learning rate is 0 before the end, so nothing more is learned. "
        "Choose another scheduler or min-lr-ratio.",
        "adapter_unchanged": "The LoRA did not change with the first step, so it would do nothing. "
        "Cancel; the log tells more.",
    }
)


def expert_title(name: ExpertName) -> str:
    """Return the expert's name for people."""
    return "Training" if name == "main" else f"Training, {name}-noise expert"


def progress_field(view: RunView, name: ExpertName) -> Field:
    """Return how far one expert is: bar, epoch, step, loss, learning rate, time, checkpoints."""
    expert = view.expert(name)
    key = StageKey("train", name)
    stage = view.run.stage(key)
    epochs = view.spec.expert(name).settings.epochs
    lines = [
        bar(expert.step, expert.total_steps),
        f"epoch {expert.epoch}/{epochs} · step {expert.step:,}/{expert.total_steps:,}",
        _measures(view, name),
    ]
    if stage.status is StageStatus.RUNNING and not view.run.status.is_final:
        lines.append(_time_left(view, name))
    lines.append(_newest_checkpoint(view.run.expert(name).checkpoints))
    lines += _warnings(view, name)
    return Field(expert_title(name), "\n".join(line for line in lines if line), inline=True)


def files_field(view: RunView, name: ExpertName) -> Field:
    """Return what one expert made: its newest file by name, the earlier ones by epoch."""
    title = "Files" if name == "main" else f"Files, {name}-noise expert"
    checkpoints = view.run.expert(name).checkpoints
    if not checkpoints:
        return Field(title, "none")
    newest = checkpoints[-1]
    kind = "final" if newest.is_final else "newest"
    lines = [
        f"`{PurePosixPath(newest.file).name}`",
        f"{size(newest.size_bytes)}, {kind}, epoch {newest.epoch}",
    ]
    if earlier := checkpoints[:-1]:
        lines.append(f"and {count(len(earlier), 'earlier checkpoint')}: {_epochs(earlier)}")
    return Field(title, "\n".join([*lines, *_warnings(view, name)]))


def _warnings(view: RunView, name: ExpertName) -> list[str]:
    return [f"⚠ {_TROUBLES[trouble]}" for trouble in view.run.expert(name).troubles]


def _measures(view: RunView, name: ExpertName) -> str:
    newest = view.progress.get(StageKey("train", name))
    value = view.expert(name).loss
    parts = [f"loss {loss(value)}"] if value is not None else []
    if newest is not None and newest.learning_rate is not None:
        parts.append(f"learning rate {rate(newest.learning_rate)}")
    return " · ".join(parts)


def _time_left(view: RunView, name: ExpertName) -> str:
    newest = view.progress.get(StageKey("train", name))
    if newest is None or newest.seconds_per_step is None:
        return ""
    seconds = (newest.total_steps - newest.step) * newest.seconds_per_step
    return f"{about(seconds)} left" if math.isfinite(seconds) and seconds > 0 else ""


def _newest_checkpoint(checkpoints: tuple[Checkpoint, ...]) -> str:
    if not checkpoints:
        return ""
    newest = checkpoints[-1]
    what = "final" if newest.is_final else f"epoch {newest.epoch}"
    return f"{count(len(checkpoints), 'checkpoint')}, newest: {what}"


def _epochs(checkpoints: tuple[Checkpoint, ...]) -> str:
    shown = [str(checkpoint.epoch) for checkpoint in checkpoints[-_SHOWN_EPOCHS:]]
    hidden = len(checkpoints) - len(shown)
    text = f"epoch{'' if len(checkpoints) == 1 else 's'} {', '.join(shown)}"
    return f"{text} and {hidden} before" if hidden else text
