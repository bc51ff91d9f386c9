"""What a run's card shows about each expert: its progress while it trains, its files afterwards."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from bot.messages.card import Field
from bot.messages.figures import about, bar, dollars, loss, moment, pace, rate
from bot.messages.markdown import escape
from bot.messages.runs.verdict import course_text, trend_text
from bot.messages.runs.wording import expert_title
from training.catalogue.gpus import GPUS
from training.catalogue.models import find_model
from training.estimates.spent import stage_usd, usd_per_second
from training.files.sizes import size
from training.pipeline.outlook import seconds_left
from training.pipeline.run_view import Progress, RunView
from training.runs.state import Checkpoint, StageStatus
from training.runs.training_health import course_of
from training.vocabulary import ExpertName, StageKey, Trouble
from training.wording import count, listed

_SHOWN_EPOCHS = 12
_TROUBLES: Mapping[Trouble, str] = {
    "loss_not_finite": "The loss was NaN or infinite at least once. If that continues, training "
    "stops by itself; a lower learning-rate may help.",
    "loss_diverged": "The loss diverged: in one epoch it was over three times as high as in an "
    "earlier one. Use a checkpoint from before then, or train again with a lower learning-rate.",
    "learning_rate_zero": "The learning rate reached 0 early, so the LoRA no longer learns. "
    "Choose another scheduler or a higher min-lr-ratio.",
    "adapter_unchanged": "The LoRA did not change in the first step and will have no effect. "
    "Cancel the run and check its log (`/status`).",
}


def progress_field(view: RunView, name: ExpertName, now: datetime) -> Field:
    """Return a field with an expert's progress: step, loss, speed, GPU, end, newest checkpoint."""
    expert = view.expert(name)
    stage = view.run.stage(StageKey("train", name))
    epochs = view.spec.expert(name).settings.epochs
    reached = f"epoch {expert.epoch}/{epochs} · step {expert.step:,}/{expert.total_steps:,}"
    lines = [f"{bar(expert.step, expert.total_steps)} · {reached}", _loss(view, name)]
    if stage.status is StageStatus.RUNNING and not view.run.status.is_final:
        lines += [_pace(view, name), _end_and_cost(view, name, now)]
    lines.append(_newest_checkpoint(view.run.expert(name).checkpoints))
    lines += _warnings(view, name)
    return Field(expert_title("Training", name), "\n".join(line for line in lines if line))


def files_field(view: RunView, name: ExpertName) -> Field:
    """Return a field with an expert's newest checkpoint, and the epochs of earlier ones."""
    title = expert_title("Files", name)
    checkpoints = view.run.expert(name).checkpoints
    if not checkpoints:
        return Field(title, "none")
    newest = checkpoints[-1]
    kind = "final" if newest.is_final else "newest"
    lines = [
        f"`{PurePosixPath(newest.file).name}`",
        f"{size(newest.size_bytes)}, {kind}, epoch {newest.epoch}",
    ]
    if (course := course_of(view.run.expert(name).losses)) is not None:
        lines.append(course_text(course))
    if earlier := checkpoints[:-1]:
        epochs = listed([str(checkpoint.epoch) for checkpoint in reversed(earlier)], _SHOWN_EPOCHS)
        plural = "" if len(earlier) == 1 else "s"
        lines.append(f"and {len(earlier)} earlier checkpoint{plural}: epoch{plural} {epochs}")
    return Field(title, "\n".join([*lines, *_warnings(view, name)]))


def _warnings(view: RunView, name: ExpertName) -> list[str]:
    expert = view.run.expert(name)
    lines = [f"⚠ {trouble_text(trouble)}" for trouble in expert.troubles]
    return [*lines, f"⚠ {slow_text(expert.slow_reason)}"] if expert.slow_reason else lines


def trouble_text(trouble: Trouble) -> str:
    """Return what this kind of trouble in training means, and what to do about it."""
    return _TROUBLES[trouble]


def slow_text(reason: str) -> str:
    """Return why an expert trains without compiled steps, although its settings ask for them."""
    return f"Trains with musubi-tuner's own, slower step: {escape(reason)}"


def _loss(view: RunView, name: ExpertName) -> str:
    value = view.expert(name).loss
    course = trend_text(view.run.expert(name).losses)
    return "" if value is None else f"loss {loss(value)} {course}".rstrip()


def _pace(view: RunView, name: ExpertName) -> str:
    """Return the GPU, the speed and the learning rate: `GPU: H200 · 5.6 s per step · …`."""
    newest = view.progress.get(StageKey("train", name), Progress())
    step, learning_rate = newest.seconds_per_step, newest.learning_rate
    parts = (
        _gpu(view, name),
        pace(step) if step else "",
        f"learning rate {rate(learning_rate)}" if learning_rate is not None else "",
    )
    return " · ".join(filter(None, parts))


def _gpu(view: RunView, name: ExpertName) -> str:
    gpu = view.run.stage(StageKey("train", name)).gpu
    if gpu is None:
        return ""
    usual = view.spec.gpu or find_model(view.spec.model).gpu
    is_other = view.prices is not None and gpu != usual
    # Either the usual GPU was not free, or Modal gave a larger one at the same price.
    return f"GPU: {gpu}{f' instead of {GPUS[usual].with_article}' if is_other else ''}"


def _end_and_cost(view: RunView, name: ExpertName, now: datetime) -> str:
    """Return when training will end at the measured speed, and its cost at the GPU's price."""
    seconds = seconds_left(view, name)
    end = ""
    if seconds:
        end = f"{about(seconds)} left, ends {moment(now + timedelta(seconds=seconds), 't')}"
    return " · ".join(filter(None, (end, _cost(view, name, seconds, now))))


def _cost(view: RunView, name: ExpertName, ahead_seconds: float | None, now: datetime) -> str:
    key = StageKey("train", name)
    gpu = view.run.stage(key).gpu
    if view.prices is None or gpu is None:
        return ""
    spent = stage_usd(view.run, key, view.prices, now)
    per_second = usd_per_second(view.spec, key, gpu, view.prices)
    if spent is None or per_second is None:
        return ""
    if not ahead_seconds:
        return f"{dollars(spent)} so far"
    return f"{dollars(spent + ahead_seconds * per_second)} in all"


def _newest_checkpoint(checkpoints: tuple[Checkpoint, ...]) -> str:
    if not checkpoints:
        return ""
    newest = checkpoints[-1]
    what = "final" if newest.is_final else f"epoch {newest.epoch}"
    return f"{count(len(checkpoints), 'checkpoint')}, newest: {what}"
