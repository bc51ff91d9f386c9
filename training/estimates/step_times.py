"""How long a training step takes: measured times, interpolated between numbers of tokens.

The time per token grows linearly with the number of tokens: matrix products cost the same for each
token, and attention costs the same for each pair of tokens. That is why the time per token is
interpolated, not the time of a step. Of the three points measured for Wan 2.1 T2V 14B on an H100,
the middle one is predicted from the other two with an error of less than 1%.
"""

from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from training.catalogue.gpus import GPUS
from training.catalogue.models import Model
from training.runs.hyperparameters import ExpertSettings, Fast

# "wan21-clip" reads CLIP image tokens, as Wan 2.1 image to video does. Wan 2.2 has the same
# blocks as Wan 2.1, but embeds the timestep for each token.
Family = Literal["wan21-1.3b", "wan21", "wan21-clip", "wan22"]
Points = Mapping[int, float]  # seconds of a step, keyed by its number of tokens

# A time counts as measured if the step's number of tokens is between `_BELOW` times the smallest
# measured number and `_BEYOND` times the largest.
_BELOW, _BEYOND = 0.5, 1.25
# Rough times relative to Wan 2.1 T2V 14B, from the number of operations in a step.
_RELATIVE: Mapping[Family, float] = MappingProxyType({"wan21-1.3b": 0.12, "wan21-clip": 1.0})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKind:
    """The properties, besides the number of tokens, that decide how long a step takes.

    Attributes:
        gpu: The GPU's name in the catalogue, or else the driver's name for it.
        is_fp8: Whether the base weights are in 8 bits; True for all compiled steps, whose time
            hardly depends on it.
        is_swapping: Whether blocks of the model are swapped to main memory, which takes more time.
    """

    family: Family
    gpu: str
    fast: Fast = "off"
    is_fp8: bool = True
    is_swapping: bool = False


def step_kind(model: Model, gpu: str, settings: ExpertSettings | None = None) -> StepKind:
    """Return the kind of step that an expert takes; without `settings`, use the model's."""
    if settings is None:
        return StepKind(family=family_of(model), gpu=gpu, is_fp8=bool(model.fp8))
    return StepKind(
        family=family_of(model),
        gpu=gpu,
        fast=settings.fast,
        is_fp8=settings.fp8 or settings.fast != "off",
        is_swapping=settings.blocks_to_swap > 0,
    )


def family_of(model: Model) -> Family:
    """Return the models whose steps take as long as those of this model."""
    if len(model.experts) > 1:
        return "wan22"
    if model.size == "1.3B":
        return "wan21-1.3b"
    return "wan21-clip" if model.clip else "wan21"


def _points(**seconds: float) -> Points:
    return MappingProxyType({int(tokens[1:]): its for tokens, its in seconds.items()})


# Measured with one sample per step, a rank-24 LoRA and random weights of the real shapes; dates,
# software and programs are in training/musubi/README.md. The default item sizes give 3,600 tokens
# (1 frame of 720x1280), 21,600 (21 frames of 1280x720) and 24,480 (45 frames of 960x544). Wan 2.2
# I2V has the same blocks as Wan 2.2 T2V, and its steps took as long at 3,600 tokens.
MEASURED: Mapping[StepKind, Points] = MappingProxyType(
    {
        StepKind(family="wan21", gpu="H100"): _points(t3600=1.20, t21600=8.46, t24480=9.82),
        StepKind(family="wan21", gpu="H100", is_fp8=False): _points(
            t3600=1.05, t21600=8.20, t24480=9.78
        ),
        StepKind(family="wan22", gpu="H100"): _points(t3600=1.39, t21600=9.23),
        StepKind(family="wan21", gpu="H200"): _points(t3600=1.02, t21600=7.80, t24480=9.30),
        StepKind(family="wan22", gpu="H200"): _points(t3600=1.18, t21600=8.40, t24480=9.97),
        # With flash-attn-4, as in the images on Modal.
        StepKind(family="wan21", gpu="H200", fast="16bit"): _points(
            t3600=0.405, t21600=4.30, t24480=5.25
        ),
        StepKind(family="wan21", gpu="H200", fast="fp8"): _points(
            t3600=0.332, t21600=3.69, t24480=4.55
        ),
        StepKind(family="wan22", gpu="H200", fast="16bit"): _points(
            t3600=0.430, t21600=4.53, t24480=5.52
        ),
        StepKind(family="wan22", gpu="H200", fast="fp8"): _points(
            t3600=0.340, t21600=3.75, t24480=4.63
        ),
    }
)


NOTHING_SEEN: Mapping[StepKind, Points] = MappingProxyType({})


class StepTimes:
    """Predicts how long a step takes, but only roughly if no step of its kind was measured.

    Args:
        measured: The built-in measurements.
        seen: The step times that earlier runs took here; they correct only their own kind.
    """

    def __init__(
        self,
        measured: Mapping[StepKind, Points] = MEASURED,
        seen: Mapping[StepKind, Points] = NOTHING_SEEN,
    ) -> None:
        self._measured, self._seen = measured, seen

    def corrected(self, seen: Mapping[StepKind, Points]) -> "StepTimes":
        """Return a copy corrected with the step times that this installation's earlier runs took.

        For each kind of step in `seen`, the points that runs measured are predicted exactly. Other
        sizes of this kind are scaled by the ratio of measured to usual times of their neighbours.
        """
        return StepTimes(self._measured, {**self._seen, **seen})

    def seconds(self, kind: StepKind, tokens: int) -> float:
        """Return the seconds of a step on one sample of this many tokens."""
        usual = self._usual(kind, tokens)
        seen = self._seen.get(kind)
        if not seen:
            return usual
        ratios = {at: its / self._usual(kind, at) for at, its in seen.items()}
        return usual * _between(ratios, tokens)

    def is_measured(self, kind: StepKind, tokens: int) -> bool:
        """Return whether steps of this kind and about this size were measured."""
        points = (*self._measured.get(kind, ()), *self._seen.get(kind, ()))
        if not points:
            return False
        return min(points) * _BELOW <= tokens <= max(points) * _BEYOND

    def is_seen(self, kind: StepKind) -> bool:
        """Return whether earlier runs here took steps of this kind."""
        return bool(self._seen.get(kind))

    def _usual(self, kind: StepKind, tokens: int) -> float:
        """Return the seconds of a step according to the built-in measurements alone."""
        if points := self._measured.get(kind):
            return _at(points, tokens)
        nearest = next(other for other in _likened(kind) if other in self._measured)
        ratio = _rough_factor(kind) / _rough_factor(nearest)
        return _at(self._measured[nearest], tokens) * ratio


def _likened(kind: StepKind) -> Iterable[StepKind]:
    """Yield kinds whose times can stand in for those of an unmeasured kind, most similar first."""
    plain = replace(kind, is_swapping=False)
    for gpu in (kind.gpu, "H100", "H200"):
        for is_fp8 in dict.fromkeys((kind.is_fp8, True)):
            alike = replace(plain, gpu=gpu, is_fp8=is_fp8)
            yield alike
            yield replace(alike, family="wan21")


def _rough_factor(kind: StepKind) -> float:
    gpu = GPUS.get(kind.gpu, GPUS["H100"])
    return gpu.step_factor * _RELATIVE.get(kind.family, 1.0)


def _at(points: Points, tokens: int) -> float:
    """Return the seconds of a step with `tokens` tokens, interpolated between `points`.

    Outside the points, the time is extrapolated from the nearest two.
    """
    known = sorted(points)
    rates = [points[one] / one for one in known]
    if len(known) == 1:
        return rates[0] * tokens
    right = min(max(bisect(known, tokens), 1), len(known) - 1)
    left = right - 1
    slope = (rates[right] - rates[left]) / (known[right] - known[left])
    if tokens > known[-1]:
        slope = max(slope, 0.0)
    # Start from the nearer point, so that the curve does not jump at the last measured point.
    base = right if tokens > known[-1] else left
    return max(rates[base] + slope * (tokens - known[base]), 0.0) * tokens


def _between(ratios: Points, tokens: int) -> float:
    """Return the ratio at `tokens`, interpolated; outside the points, that of the nearest one.

    Points may lie so close together that the line through them must not be extended.
    """
    known = sorted(ratios)
    right = bisect(known, tokens)
    if right in (0, len(known)):
        return ratios[known[min(right, len(known) - 1)]]
    low, high = known[right - 1], known[right]
    share = (tokens - low) / (high - low)
    return ratios[low] * (1 - share) + ratios[high] * share
