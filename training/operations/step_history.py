"""The step times that earlier runs took, on all servers of this installation.

Plans of every server use them. Only a GPU, a kind of step, a number of tokens and seconds are taken
from another server's run: never a name, and no count from which its activity could be seen.
"""

import math
import statistics
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from training.catalogue.models import MODELS, Model
from training.estimates.step_times import Points, StepKind, StepTimes, family_of
from training.pipeline.run_view import RunSummary, StepTime
from training.ports import RunIndex

_MOST_RUNS = 100  # only this many of the newest runs count, so that plans follow new software


def times_here(index: RunIndex, model: Model) -> StepTimes:
    """Return step times corrected by the finished runs of all models with the same steps."""
    alike = [one.name for one in MODELS if family_of(one) == family_of(model)]
    found = map(_summary, index.newest_of(alike, _MOST_RUNS))
    return StepTimes().corrected(seen_in(model, filter(None, found)))


def seen_in(model: Model, runs: Iterable[RunSummary]) -> Mapping[StepKind, Points]:
    """Return the median time for each kind and size of step in runs like those of `model`.

    Every training attempt counts once. Rehearsals, which train a tiny model, do not count.
    """
    found: dict[StepKind, dict[int, list[float]]] = {}
    for run in runs:
        if run.engine == "rehearsal":
            continue
        for one in (its for expert in run.experts for its in expert.step_times):
            if one.tokens > 0 and math.isfinite(one.seconds) and one.seconds > 0:
                points = found.setdefault(_kind(model, one), {})
                points.setdefault(one.tokens, []).append(one.seconds)
    return {
        kind: {tokens: statistics.median(its) for tokens, its in points.items()}
        for kind, points in found.items()
    }


def _kind(model: Model, one: StepTime) -> StepKind:
    return StepKind(
        family=family_of(model),
        gpu=one.gpu,
        fast=one.fast,
        is_fp8=one.is_fp8,
        is_swapping=one.is_swapping,
    )


def _summary(data: bytes) -> RunSummary | None:
    try:
        return RunSummary.model_validate_json(data)
    except ValidationError:
        return None
