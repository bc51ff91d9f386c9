"""The spec of a run that does what another one left undone, unchanged or as was suggested."""

from typing import assert_never

from training.dataset.report import Report
from training.pipeline.plan import steps_per_epoch
from training.remedies import (
    CacheAgain,
    FewerFrames,
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
    """Return a spec that goes on with the experts which the run has not published."""
    unfinished = tuple(
        _started_alike(expert, run.spec.name)
        for expert in run.spec.experts
        if run.stage(StageKey("publish", expert.name)).status is not StageStatus.SUCCEEDED
    )
    return run.spec.model_copy(update={"experts": unfinished, "continues": run.spec.name})


def with_suggestion(spec: RunSpec, suggestion: Suggestion, report: Report) -> RunSpec:
    """Return a spec that goes on with another one, changed as suggested.

    Where the training items change, it starts anew: its steps are not those of the old states.

    Args:
        spec: The spec that would go on unchanged.
        suggestion: The change.
        report: What the inspection of the run's dataset found.
    """
    match suggestion:
        case FewerFrames():
            spec = _cut(spec, report, max_frames=suggestion.max_frames)
        case LowerResolution():
            spec = _cut(spec, report, resolution=suggestion.resolution)
        case SwapBlocks():
            spec = _set(spec, blocks_to_swap=suggestion.blocks)
        case UseFp8():
            spec = _set(spec, fp8=True)
        case CacheAgain():
            spec = spec.model_copy(update={"caches_after": spec.continues})
        case _:
            assert_never(suggestion)
    return spec if keeps_items(suggestion) else spec.model_copy(update={"continues": None})


def _started_alike(expert: ExpertSpec, old: str) -> ExpertSpec:
    """Return an expert that starts from the old run's copy of what it started from."""
    if expert.start is None:
        return expert
    start = expert.start.model_copy(update={"kept_by": old})
    return expert.model_copy(update={"start": start})


def _cut(spec: RunSpec, report: Report, **limits: int | str) -> RunSpec:
    items = spec.items.model_copy(update=limits)
    spec = spec.model_copy(update={"items": items})
    return spec.model_copy(update={"steps_per_epoch": steps_per_epoch(cut_run(report, spec))})


def _set(spec: RunSpec, **settings: int) -> RunSpec:
    experts = tuple(
        expert.model_copy(update={"settings": expert.settings.model_copy(update=settings)})
        for expert in spec.experts
    )
    return spec.model_copy(update={"experts": experts})
