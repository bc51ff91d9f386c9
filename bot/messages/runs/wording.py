"""Phrases shared by several texts about runs."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath

from bot.messages.figures import duration, moment
from training.pipeline.run_view import RunSummary, RunView
from training.runs.spec import RunSpec
from training.runs.state import RunStatus
from training.vocabulary import ExpertName, Trouble
from training.wording import listed

REHEARSAL = "Rehearsal: a tiny stand-in model on the CPU. Its LoRA does not work in ComfyUI."

KEPT = "All checkpoints are kept, and the LoRA after that step is saved as the final one."

DAMAGED_RECORD = (
    "The record of this run is damaged, so part of its history, such as losses, is missing here."
)


def expert_title(what: str, expert: ExpertName) -> str:
    """Return `Files`, or `Files, high-noise expert` for a model with two experts."""
    return what if expert == "main" else f"{what}, {expert}-noise expert"


def chosen_gpu(spec: RunSpec) -> str:
    """Return a sentence that names the GPU the user chose; "" if they chose none."""
    if spec.gpu is None:
        return ""
    unused = " (not used by a rehearsal)" if spec.engine == "rehearsal" else ""
    return f"Chosen GPU: {spec.gpu}{unused}."


def preset_text(spec: RunSpec) -> str:
    """Return a sentence that names the preset; "" if it is `guide`, the default."""
    return "" if spec.preset == "guide" else f"Preset: {spec.preset}."


def item_limits(spec: RunSpec) -> str:
    """Return a sentence with the run's limits on training items; "" if there are none."""
    clips = "clips (no single frames)" if spec.items.items == "clips" else ""
    frames = f"{spec.items.max_frames} frames per training clip" if spec.items.max_frames else ""
    limits = [limit for limit in (clips, frames, spec.items.resolution) if limit]
    return f"Limited to {' and '.join(limits)}." if limits else ""


def place_text(place: int, starts_at: datetime | None) -> str:
    """Return a run's place in the GPU queue, and about when it should get a GPU, if known."""
    when = "" if starts_at is None else f", starts about {moment(starts_at, 't')}"
    return f"Position {place} in the GPU queue{when}."


def promise_text(spec: RunSpec) -> str:
    """Return what the plan estimated, such as `the plan said 3 h and $9.83`; "" if unknown."""
    if spec.promised is None:
        return ""
    price = "" if spec.promised.usd is None else f" and ${spec.promised.usd:,.2f}"
    return f"the plan said {duration(spec.promised.seconds)}{price}"


_ENDS: Mapping[Trouble, str] = {
    "loss_not_finite": "finished, but the loss was NaN or infinite at times",
    "adapter_unchanged": "finished, but the LoRA did not change at first",
    "loss_diverged": "finished, but the loss diverged",
    "learning_rate_zero": "finished, but the learning rate reached 0 early",
}


def flawed_end(trouble: Trouble) -> str:
    """Return how a run with this problem ended, such as `finished, but the loss diverged`."""
    return _ENDS[trouble]


def state_text(summary: RunSummary) -> str:
    """Return how a run in a list is doing, such as `running, train, rehearsal`."""
    state = summary.state
    if summary.trouble is not None and state == RunStatus.SUCCEEDED:
        state = flawed_end(summary.trouble)
    rehearsal = "rehearsal" if summary.engine == "rehearsal" else None
    return ", ".join(filter(None, (state, summary.stage, rehearsal)))


def checked_text(view: RunView) -> str:
    """Return how the last stage found the checkpoints of a run that succeeded."""
    damaged: list[str] = []
    for expert in view.spec.experts:
        files = view.run.expert(expert.name).checkpoints
        if any(file.is_published for file in files):  # runs of earlier versions do not say
            damaged += [PurePosixPath(file.file).name for file in files if not file.is_published]
    if not damaged:
        return "All checkpoints are complete and verified."
    return f"Damaged after it was saved: {listed(damaged)}. The others are complete and verified."


def with_checkpoints(view: RunView) -> list[ExpertName]:
    """Return the experts that have at least one checkpoint."""
    return [e.name for e in view.spec.experts if view.run.expert(e.name).checkpoints]
