"""Judges how pictures look: perceptual hashes, blur, bars, blackness.

The thresholds let sharp photographs pass, even enlarged twice or darkened to 15 %, and catch
those blurred beyond use; doubtful pictures get no finding.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.dataset.report import Note

Luma = NDArray[np.uint8]  # [h, w], 0 is black and 255 white
Numbers = NDArray[np.float64]
HASH_SIDE = 8
HASH_SOURCE_SIDE = 32
LOOKED_AT_SIDE = 480  # pixels of the short side, at most
BLUR_WINDOW = 9  # pixels
SMALLEST_EDGE = 3  # of 255, from pixel to pixel
# Softness above, steepness below. Measured on 18 photographs as clips of 832 x 480: sharp 0.11 to
# 0.51 and 0.13 to 0.5 (a page with little text 0.07); blurred with a radius of 8 pixels mostly
# 0.6 to 0.8 and 0.03 to 0.06. Strong compression lowers the first number, not the second. In the
# tests' clean set, dark, slow and written ones included, the second is 0.143 and more.
BLURRED = ((0.6, 0.065), (0.33, 0.035))
BLACK = 8  # of 255
BRIGHT_EDGE = 32  # of 255: what begins right behind a bar
BLANK = 4  # of 255, between the darkest and the brightest; encoding one colour reaches 2
SMALLEST_BAR = 0.025  # of the side


@dataclass(frozen=True, slots=True)
class Look:
    """The hashes and visible flaws of a picture or clip."""

    prints: tuple[int, ...]
    notes: tuple[Note, ...]


def look_at_image(rgb: Image.Image) -> Look:
    """Return an image's hash and its flaws."""
    grey = rgb.convert("L")
    scale = LOOKED_AT_SIDE / min(grey.size)
    if scale < 1:
        size = (round(grey.width * scale), round(grey.height * scale))
        grey = grey.resize(size, Image.Resampling.BOX)
    luma = np.asarray(grey)
    notes: list[Note] = []
    if is_black(luma):
        notes.append(Note(code="black-image"))
    elif is_blank(luma):
        notes.append(Note(code="blank-image"))
    elif is_blurred(luma):
        notes.append(Note(code="blurry"))
    if has_bars(luma):
        notes.append(Note(code="letterboxed"))
    return Look(prints=(perceptual_hash(luma),), notes=tuple(notes))


def perceptual_hash(luma: Luma) -> int:
    """Return a 64-bit hash that changes little if the picture changes little.

    Source: the DCT hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions" (2010), chapter 3.2.
    """
    side = (HASH_SOURCE_SIDE, HASH_SOURCE_SIDE)
    small = Image.fromarray(luma).resize(side, Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float64)
    low = (_DCT @ pixels @ _DCT.T)[1 : HASH_SIDE + 1, 1 : HASH_SIDE + 1].ravel()
    bits = low > np.median(low)
    return int("".join("1" if bit else "0" for bit in bits), 2)


def is_blurred(luma: Luma) -> bool:
    """Whether all edges are soft: another blur changes little, and none is steep."""
    steepest = steepness(luma)
    if steepest >= max(
        steep for _, steep in BLURRED
    ):  # most pictures; the check below is ten times slower
        return False
    soft_edges = softness(luma)
    return any(soft_edges > soft and steepest < steep for soft, steep in BLURRED)


def is_black(luma: Luma) -> bool:
    """Whether the picture is entirely black; dark pictures have some lights."""
    return int(np.count_nonzero(luma > BLACK)) * 1000 <= luma.size


def is_blank(luma: Luma) -> bool:
    """Whether the picture is a single colour: overexposed, or the middle of a fade."""
    return int(luma.max()) - int(luma.min()) <= BLANK


def has_bars(brightest: Luma) -> bool:
    """Whether there are equal black bars at top and bottom, or left and right.

    Args:
        brightest: The picture, or the per-pixel maximum of a clip's frames.
    """
    return _has_bars_above_and_below(brightest) or _has_bars_above_and_below(brightest.T)


def _has_bars_above_and_below(luma: Luma) -> bool:
    height, width = luma.shape
    dark_rows = np.count_nonzero(luma > BLACK, axis=1) * 100 <= width
    lit = np.flatnonzero(~dark_rows)
    if lit.size == 0:
        return False
    above, below = int(lit[0]), height - 1 - int(lit[-1])
    least = max(4, round(SMALLEST_BAR * height))
    if min(above, below) < least or abs(above - below) > max(4, least // 2):
        return False
    # A bar ends sharply over the whole width; a subject on black does not.
    inside = luma[[min(above + 3, height - 1), max(height - 1 - below - 3, 0)]]
    return bool((np.mean(inside > BRIGHT_EDGE, axis=1) > 0.5).all())


def softness(luma: Luma) -> float:
    """Return the share of the edges that another blur leaves unchanged, 0 to 1.

    Source: Crete et al., "The blur effect: perception and estimation with a new no-reference
    perceptual blur metric" (2007); here ignoring steps small enough to be rounding.
    """
    pixels = luma.astype(np.float32)
    return max(_softness_down(pixels), _softness_down(np.ascontiguousarray(pixels.T)))


def _softness_down(pixels: NDArray[np.float32]) -> float:
    sums = np.cumsum(np.pad(pixels, ((1, 0), (0, 0))), axis=0)  # exact: whole, below 2 ** 24
    blurred = (sums[BLUR_WINDOW:] - sums[:-BLUR_WINDOW]) / BLUR_WINDOW
    margin = BLUR_WINDOW // 2
    before = np.abs(np.diff(pixels[margin : len(pixels) - margin], axis=0))
    lost = np.maximum(0, before - np.abs(np.diff(blurred, axis=0)))
    is_edge = before >= SMALLEST_EDGE
    total = float(before[is_edge].sum())
    return 1 - float(lost[is_edge].sum()) / total if total else 0.0


def steepness(luma: Luma) -> float:
    """Return the step of the steepest edges between pixels, relative to the contrast."""
    pixels = luma.astype(np.int16)
    down, across = np.abs(np.diff(pixels, axis=0)), np.abs(np.diff(pixels, axis=1))
    steps = np.maximum(down[:, :-1], across[:-1])
    darkest, brightest = _level(luma, 0.01), _level(luma, 0.99)
    return _level(steps, 0.995) / max(brightest - darkest, 1)


def _level(values: NDArray[np.uint8] | NDArray[np.int16], part: float) -> int:
    """Return the quantile `part` of values between 0 and 255."""
    counts = np.bincount(values.ravel(), minlength=256)
    return int(np.searchsorted(np.cumsum(counts), part * values.size))


def _dct_matrix() -> Numbers:
    side = HASH_SOURCE_SIDE
    rows, columns = np.mgrid[0:side, 0:side]
    return np.cos(np.pi * (2 * columns + 1) * rows / (2 * side))


_DCT = _dct_matrix()
