"""How each model is sampled in ComfyUI, as data, and where Wan 2.2 changes its expert."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_SMALL, _LARGE = (832, 480), (1280, 720)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Steps, guidance, flow shift, sampler and size of a clip."""

    steps: int
    cfg: float
    shift: float
    sampler: str
    size: tuple[int, int] = _SMALL


# Shift: the reference code of Wan2.1 and Wan2.2 (README and wan/configs). Guidance and sampler:
# ComfyUI's Wan templates. 30 steps: the least that the guide names. Lightning: four steps without
# guidance, which the speed LoRA was distilled for, and the shift of ComfyUI's template.
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
    """Return the first step whose noise level is below `boundary`: the low-noise expert's first.

    Noise levels go from 1 to 0 in equal steps t, shifted to s t / (1 + (s - 1) t).
    """
    shift, steps = sampling.shift, sampling.steps
    at_boundary = boundary / (shift - (shift - 1) * boundary)
    return min(max(math.ceil(steps * (1 - at_boundary)), 1), steps - 1)
