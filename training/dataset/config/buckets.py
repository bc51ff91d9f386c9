"""The sizes that musubi-tuner trains at: areas near the wanted one, sides in steps of 16.

Source: `BucketSelector` in musubi-tuner, `dataset/bucket.py`, commit 30c658c, for Wan.
"""

import math
from functools import lru_cache

STEP = 16  # pixels: the VAE's 8 times the transformer's patches of 2
Size = tuple[int, int]  # width, height


def bucket_of(size: Size, resolution: Size, *, no_upscale: bool) -> Size:
    """Return the width and height that a picture is scaled and cropped to.

    Args:
        size: Width and height of the picture.
        resolution: Width and height whose area is wanted.
        no_upscale: Leave pictures up to that area at their own size, cut to steps of 16.
    """
    width, height = size
    if no_upscale and width * height <= resolution[0] * resolution[1]:
        return _down(width), _down(height)
    aspect = width / height
    # The first of equals wins, in sorted order, as with numpy's argmin.
    return min(_sizes(resolution), key=lambda bucket: abs(bucket[0] / bucket[1] - aspect))


def enlargement(size: Size, bucket: Size) -> float:
    """Return how many times larger the picture gets to fill its bucket; under 1 it shrinks."""
    return max(bucket[0] / size[0], bucket[1] / size[1])


@lru_cache
def _sizes(resolution: Size) -> tuple[Size, ...]:
    area = resolution[0] * resolution[1]
    side = math.isqrt(area)
    sizes: set[Size] = set()
    for width in range(_down(side // 2), side + STEP, STEP):
        height = _down(area // width)
        sizes |= {(width, height), (height, width)}
    return tuple(sorted(sizes))


def _down(pixels: int) -> int:
    return pixels - pixels % STEP
