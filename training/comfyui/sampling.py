"""ComfyUI sampling settings for each model, and the step at which Wan 2.2 switches experts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_SMALL, _LARGE = (832, 480), (1280, 720)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling settings of a model."""

    steps: int
    cfg: float
    shift: float
    sampler: str
    size: tuple[int, int] = _SMALL


# Sources. Shift: the reference code of Wan2.1 and Wan2.2 (README and wan/configs). Guidance and
# sampler: ComfyUI's Wan templates. Steps: the public Wan LoRA guide, which recommends at least 30.
# For Lightning: the shift of ComfyUI's template, and the four steps without guidance that the speed
# LoRA was distilled for.
_LIGHTNING = Sampling(4, 1.0, 5.0, "euler")
SAMPLING: Mapping[str, Sampling] = MappingProxyType(
    {
        "wan21-t2v-14b": Sampling(30, 6.0, 5.0, "uni_pc"),
        "wan21-t2v-1-3b": Sampling(30, 6.0, 8.0, "uni_pc"),
        "wan21-i2v-480p": Sampling(30, 6.0, 3.0, "uni_pc"),
        "wan21-i2v-720p": Sampling(30, 6.0, 5.0, "uni_pc", _LARGE),
        "wan22-t2v-vanilla": Sampling(30, 3.5, 12.0, "euler"),
        "wan22-t2v-lightning": _LIGHTNING,
        "wan22-i2v-vanilla": Sampling(30, 3.5, 5.0, "euler"),
        "wan22-i2v-lightning": _LIGHTNING,
    }
)


def switch_step(sampling: Sampling, boundary: float) -> int:
    """Return the low-noise expert's first step: the first with a noise level below `boundary`.

    Noise levels t fall from 1 to 0 in equal steps. Flow shift s turns t into s t / (1 + (s - 1) t).
    """
    shift, steps = sampling.shift, sampling.steps
    at_boundary = boundary / (shift - (shift - 1) * boundary)
    return min(max(math.ceil(steps * (1 - at_boundary)), 1), steps - 1)
