"""Whether anything moves in a clip, whatever the noise of its camera and encoder."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.dataset.decoding.image_looks import Luma

Levels = NDArray[np.float32]
# Of a short side of 480 pixels. Standing photographs with noise of 10 levels, and what encoding
# makes of them, reach 0.15 pixels and 2.2 levels; moved by half a pixel they reach 0.48 pixels.
STILL_PIXELS = 0.25
STILL_LEVELS = 3.0  # of 255: light that comes and goes is movement too
MOST = 98  # percent: what moves may be small, but for a few blocks
_LIGHT_BLOCK, _MOVE_BLOCK = 16, 32  # pixels
_EDGE = 4.0  # levels from pixel to pixel: weaker edges are taken for noise more and more


def is_still(pictures: Sequence[Luma]) -> bool:
    """Whether neither light nor shapes change from the first picture to any other."""
    first, others = pictures[0], pictures[1:]
    # Light first: it takes a fiftieth of the time, and settles it for most clips.
    if not others or any(change(first, other) >= STILL_LEVELS for other in others):
        return False
    return all(drift(first, other) < STILL_PIXELS for other in others)


def change(first: Luma, other: Luma) -> float:
    """Return how much the blocks that change most differ in level, of 255."""
    side = _LIGHT_BLOCK
    levels = (_sums(luma.astype(np.float32), side) / side**2 for luma in (first, other))
    return float(np.percentile(np.abs(next(levels) - next(levels)), MOST))


def drift(first: Luma, other: Luma) -> float:
    """Return how far the blocks that move most have come, in pixels; good below about 2.

    Source: Lucas and Kanade, "An Iterative Image Registration Technique" (1981), one step for
    each block. Differences without an edge to move, such as noise, count little.
    """
    before, after = first.astype(np.float32), other.astype(np.float32)
    twice = before + after
    down, across = _steps(twice, axis=0), _steps(twice, axis=1)
    later = after - before
    least = np.float32((_MOVE_BLOCK * _EDGE) ** 2)
    xx, yy = _products(across, across) + least, _products(down, down) + least
    xy, xt, yt = _products(across, down), _products(across, later), _products(down, later)
    x, y = xy * yt - yy * xt, xy * xt - xx * yt
    return float(np.percentile(np.hypot(x, y) / (xx * yy - xy * xy), MOST))


def _steps(twice: Levels, *, axis: int) -> Levels:
    return np.asarray(np.gradient(twice, axis=axis), dtype=np.float32) / np.float32(2)


def _products(one: Levels, other: Levels) -> Levels:
    return _sums(one * other, _MOVE_BLOCK)


def _sums(levels: Levels, side: int) -> Levels:
    """Return the sum of each whole block."""
    height, width = (length - length % side for length in levels.shape)
    blocks = levels[:height, :width].reshape(height // side, side, width // side, side)
    return blocks.sum(axis=(1, 3))
