"""The sizes musubi-tuner trains at: about the requested area, sides in multiples of 16.

Source: `BucketSelector` in musubi-tuner, `dataset/bucket.py`, commit 30c658c, for Wan.
"""

import math
from functools import lru_cache

STEP = 16  # pixels: 8 per latent pixel, 2 latent pixels per patch
Size = tuple[int, int]  # width, height


def bucket_of(
    size: Size, resolution: Size, *, enabled: bool = True, no_upscale: bool = False
) -> Size:
    """Return the width and height that a picture is scaled and cropped to.

    Args:
        size: Width and height of the picture.
        resolution: Width and height whose area the bucket keeps.
        enabled: Choose by aspect ratio; otherwise the only bucket is `resolution` itself.
        no_upscale: Keep the size of pictures up to that area, cropped to multiples of 16.
    """
    if not enabled:
        return resolution
    width, height = size
    if no_upscale and width * height <= resolution[0] * resolution[1]:
        return _floor(width), _floor(height)
    aspect = width / height
    # Of equally close buckets the first in sorted order wins, as with numpy's argmin.
    return min(_sizes(resolution), key=lambda bucket: abs(bucket[0] / bucket[1] - aspect))


def enlargement(size: Size, bucket: Size) -> float:
    """Return the factor by which a picture grows to fill its bucket; below 1 it shrinks."""
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
