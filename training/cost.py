"""What a run will take: seconds and dollars, from measured step times and a dated price list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from training.catalogue import Model
from training.dataset.group import GroupPlan, tokens
from training.request import ExpertSpec

# Seconds a step of the 14B model on an H100 80GB by tokens a step; stock flags of the guide,
# measured 2026-11-23 with torch 2.11 (1 frame 720x1280, 21 frames 720x1280, 45 frames 960x544).
_H100_STEP_SECONDS = ((3_600, 1.05), (21_600, 8.20), (24_480, 9.78))
# Rough factors: the ratio of the cards' bf16 throughput; not measured here.
_SLOWER_THAN_H100: Mapping[str, float] = MappingProxyType(
    {"H200": 1.0, "H100": 1.0, "A100-80GB": 2.2, "L40S": 3.5, "A10": 8.0, "L4": 12.0}
)
_RELATIVE_SIZE: Mapping[bool, float] = MappingProxyType({True: 0.12, False: 1.0})  # 1.3B : 14B
# Dollars a second on Modal's public list, as copied 2026-07-01.
PRICES_DATE = "2026-07-01"
PRICES: Mapping[str, float] = MappingProxyType(
    {
        "B200": 0.001736,
        "H200": 0.001261,
        "H100": 0.001097,
        "A100-80GB": 0.000694,
        "L40S": 0.000542,
        "A10": 0.000306,
        "L4": 0.000222,
    }
)
_START_SECONDS = 240.0  # container start and loading 14B weights from a Volume
_CACHE_SECONDS_AN_ITEM = 6.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected wall-clock seconds with both experts side by side, and GPU dollars in all."""

    seconds: float
    usd: float
    gpu: str


def estimate(
    model: Model, groups: GroupPlan, experts: Sequence[ExpertSpec], gpu: str | None = None
) -> Estimate:
    """Return what training these experts on the dataset takes on `gpu` (the model's by default)."""
    card = gpu or model.gpu
    epoch_seconds = sum(
        _step_seconds(model, tokens(item), card) * group.num_repeats
        for group in groups.groups
        for item in group.items
    )
    training = [epoch_seconds * expert.settings.epochs + _START_SECONDS for expert in experts]
    caching = _START_SECONDS + _CACHE_SECONDS_AN_ITEM * len(groups.items)
    gpu_seconds = caching + sum(training)
    return Estimate(caching + max(training), gpu_seconds * PRICES[card], card)


def _step_seconds(model: Model, token_count: int, gpu: str) -> float:
    xs, ys = zip(*_H100_STEP_SECONDS, strict=True)
    # Through the origin below the first point, on the last slope above the last one.
    slope = (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
    beyond = max(0.0, token_count - xs[-1]) * slope
    seconds = float(np.interp(token_count, (0, *xs), (0.0, *ys))) + beyond
    return seconds * _SLOWER_THAN_H100[gpu] * _RELATIVE_SIZE["1.3B" in model.task]
