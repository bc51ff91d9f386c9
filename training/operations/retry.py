"""Makes the spec of a run that repeats or continues another run, perhaps with changed settings."""

from typing import assert_never

from training.catalogue.models import Model
from training.dataset.report import Report
from training.pipeline.plan import steps_per_epoch
from training.remedies import (
    CacheAgain,
    FewerFrames,
    LeaveOut,
    LowerRate,
    LowerResolution,
    Suggestion,
    SwapBlocks,
    UseFp8,
    keeps_items,
)
from training.runs.spec import ExpertSpec, RunSpec
from training.runs.state import Run, StageStatus
from training.runs.training_items import cut_run
from training.vocabulary import StageKey


def rest_of(run: Run) -> RunSpec:
    """Return a spec that continues a run with only the experts that it has not published."""
    unfinished = tuple(
        _with_copied_start(expert, run.spec.name)
        for expert in run.spec.experts
        if run.stage(StageKey("publish", expert.name)).status is not StageStatus.SUCCEEDED
    )
    old = run.spec.name
    update = {"experts": unfinished, "continues": old, "follows": old, "promised": None}
    return run.spec.model_copy(update=update)


def with_suggestion(spec: RunSpec, suggestion: Suggestion, report: Report, model: Model) -> RunSpec:
    """Return `spec`, which continues a run, with a suggested change.

    If the training items change, the new run starts from the beginning: its epochs have a different
    number of steps, so the old training states do not fit.
    """
    match suggestion:
        case FewerFrames():
            spec = _cut(spec, report, model, max_frames=suggestion.max_frames)
        case LowerResolution():
            spec = _cut(spec, report, model, resolution=suggestion.resolution)
        case SwapBlocks():
            spec = _set(spec, blocks_to_swap=suggestion.blocks)
        case UseFp8():
            spec = _set(spec, fp8=True)
        case LowerRate():
            spec = _set(spec, learning_rate=suggestion.learning_rate)
        case LeaveOut():
            left_out = (*spec.left_out, suggestion.sample)
            spec = _cut(spec.model_copy(update={"left_out": left_out}), report, model)
        case CacheAgain():
            spec = spec.model_copy(update={"caches_after": spec.continues})
        case _:
            assert_never(suggestion)
    return spec if keeps_items(suggestion) else spec.model_copy(update={"continues": None})


def on_clips(run: Run, report: Report, model: Model) -> RunSpec:
    """Return a spec that repeats a run from the start, but without single frames."""
    experts = tuple(_with_copied_start(expert, run.spec.name) for expert in run.spec.experts)
    update = {"experts": experts, "continues": None, "follows": None, "promised": None}
    spec = run.spec.model_copy(update=update)
    return _cut(spec, report, model, items="clips")


def _with_copied_start(expert: ExpertSpec, old: str) -> ExpertSpec:
    """Return the expert; if it starts from a LoRA file, let it use the copy in the run `old`."""
    if expert.start is None:
        return expert
    start = expert.start.model_copy(update={"kept_by": old})
    return expert.model_copy(update={"start": start})


def _cut(spec: RunSpec, report: Report, model: Model, **limits: int | str) -> RunSpec:
    spec = spec.model_copy(update={"items": spec.items.model_copy(update=limits)})
    steps = steps_per_epoch(cut_run(report, spec, model))
    return spec.model_copy(update={"steps_per_epoch": steps})


def _set(spec: RunSpec, **settings: float) -> RunSpec:
    experts = tuple(
        expert.model_copy(update={"settings": expert.settings.model_copy(update=settings)})
        for expert in spec.experts
    )
    return spec.model_copy(update={"experts": experts})
