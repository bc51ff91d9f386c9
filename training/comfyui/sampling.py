"""ComfyUI sampling settings of each model, and the step where Wan 2.2 switches experts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_SMALL, _LARGE = (832, 480), (1280, 720)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Steps, guidance, flow shift, sampler and clip size."""

    steps: int
    cfg: float
    shift: float
    sampler: str
    size: tuple[int, int] = _SMALL


# Shift: the reference code of Wan2.1 and Wan2.2 (README and wan/configs). Guidance and sampler:
# ComfyUI's Wan templates. 30 steps: the guide's minimum. Lightning: four steps without guidance, as
# the speed LoRA was distilled for, and the shift of ComfyUI's template.
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
    """Return the first step of the low-noise expert, whose noise level is below `boundary`.

    Noise levels t fall from 1 to 0 in equal steps and are shifted to s t / (1 + (s - 1) t).
    """
    shift, steps = sampling.shift, sampling.steps
    at_boundary = boundary / (shift - (shift - 1) * boundary)
    return min(max(math.ceil(steps * (1 - at_boundary)), 1), steps - 1)
