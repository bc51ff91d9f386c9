"""Estimated time and cost of a run, from measured step times and a price list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from training.catalogue.gpus import GPUS, Gpu
from training.catalogue.models import Model, ModelSize
from training.dataset.config.group import GroupPlan, tokens
from training.estimates.prices import PriceList
from training.runs.spec import ExpertSpec

# Tokens and seconds per step of the 14B model on an H100 80GB, with the guide's flags;
# measured 2026-11-23 with torch 2.11 (1 frame 720x1280, 21 frames 720x1280, 45 frames 960x544).
_H100_STEP_SECONDS = ((3_600, 1.05), (21_600, 8.20), (24_480, 9.78))
_RELATIVE_SIZE: Mapping[ModelSize, float] = MappingProxyType({"1.3B": 0.12, "14B": 1.0})
_START_SECONDS = 240.0  # container start and loading 14B weights from a Volume
_CACHE_SECONDS_AN_ITEM = 6.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected wall-clock seconds with both experts in parallel, and total GPU dollars."""

    seconds: float
    usd: float
    gpu: Gpu
    prices: PriceList


def estimate(
    model: Model,
    groups: GroupPlan,
    experts: Sequence[ExpertSpec],
    *,
    gpu: str | None,
    prices: PriceList,
) -> Estimate:
    """Return the estimate for training these experts on `gpu`, by default the model's own."""
    found = GPUS[gpu or model.gpu]
    epoch_seconds = sum(
        _step_seconds(model, tokens(item), found) * group.num_repeats
        for group in groups.groups
        for item in group.items
    )
    training = [epoch_seconds * expert.settings.epochs + _START_SECONDS for expert in experts]
    caching = _START_SECONDS + _CACHE_SECONDS_AN_ITEM * len(groups.items)
    gpu_seconds = caching + sum(training)
    usd = gpu_seconds * prices.usd_per_second[found.name]
    return Estimate(caching + max(training), usd, found, prices)


def _step_seconds(model: Model, token_count: int, gpu: Gpu) -> float:
    xs, ys = zip(*_H100_STEP_SECONDS, strict=True)
    # Through the origin below the first point, at the last slope beyond the last one.
    slope = (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
    beyond = max(0.0, token_count - xs[-1]) * slope
    seconds = float(np.interp(token_count, (0, *xs), (0.0, *ys))) + beyond
    return seconds * gpu.step_factor * _RELATIVE_SIZE[model.size]
