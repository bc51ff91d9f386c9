"""The buckets (widths and heights) to which musubi-tuner scales and crops images and clips.

Source: `BucketSelector` in musubi-tuner, `dataset/bucket.py`, commit 30c658c, for Wan.
"""

import math
from functools import lru_cache

STEP = 16  # pixels: a patch is 2 latent pixels wide, and a latent pixel covers 8 pixels
Size = tuple[int, int]  # width, height


def bucket_of(
    size: Size, resolution: Size, *, enabled: bool = True, no_upscale: bool = False
) -> Size:
    """Return the width and height to which an image of this size is scaled and cropped.

    Buckets have about the area of `resolution`, and sides in multiples of 16. If not `enabled`,
    `resolution` is the only bucket. With `no_upscale`, images of at most that area are cropped to
    multiples of 16 but not scaled.
    """
    if not enabled:
        return resolution
    width, height = size
    if no_upscale and width * height <= resolution[0] * resolution[1]:
        return _floor(width), _floor(height)
    aspect = width / height
    # If several buckets are equally close, the first in sorted order wins, as with numpy's argmin.
    return min(_sizes(resolution), key=lambda bucket: abs(bucket[0] / bucket[1] - aspect))


def enlargement(size: Size, bucket: Size) -> float:
    """Return the factor by which an image is scaled to fill its bucket; below 1 if it shrinks."""
    return max(bucket[0] / size[0], bucket[1] / size[1])


@lru_cache
def _sizes(resolution: Size) -> tuple[Size, ...]:
    area = resolution[0] * resolution[1]
    side = math.isqrt(area)
    sizes: set[Size] = set()
    for width in range(_floor(side // 2), side + STEP, STEP):
        height = _floor(area // width)
        sizes |= {(width, height), (height, width)}
    return tuple(sorted(sizes))


def _floor(pixels: int) -> int:
    return pixels - pixels % STEP
