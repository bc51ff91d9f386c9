"""Which size a sample is trained at: musubi-tuner's buckets of one area and many shapes."""

import math
from collections.abc import Sequence

Size = tuple[int, int]

_STEP = 16  # 8 pixels a latent pixel, 2 latent pixels a patch


class Buckets:
    """The sizes (width, height) that one dataset's samples are brought to."""

    def __init__(self, resolution: Size, *, enable: bool = True, no_upscale: bool = False) -> None:
        self._area = resolution[0] * resolution[1]
        self._no_upscale = enable and no_upscale
        self._sizes: Sequence[Size] = self._of_area() if enable else [resolution]

    def _of_area(self) -> Sequence[Size]:
        side = int(math.sqrt(self._area))
        sizes: set[Size] = set()
        for width in range(_floor(side // 2), side + _STEP, _STEP):
            height = _floor(self._area // width)
            sizes |= {(width, height), (height, width)}
        return sorted(sizes)

    def choose(self, size: Size) -> Size:
        """Return the bucket for media of `size`: the nearest ratio of width to height."""
        width, height = size
        if self._no_upscale and width * height <= self._area:
            return _floor(width), _floor(height)
        ratio = width / height
        return min(self._sizes, key=lambda bucket: abs(bucket[0] / bucket[1] - ratio))


def _floor(pixels: int) -> int:
    return pixels - pixels % _STEP
