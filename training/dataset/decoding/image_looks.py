"""Computes perceptual hashes, and finds pictures that are black, blank, blurred or letterboxed.

The thresholds for blur catch only photographs that are too blurred to use. Sharp photographs pass,
even if enlarged to twice their size or darkened to 15 %.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.dataset.report import Note

Luma = NDArray[np.uint8]  # [h, w]; 0 is black and 255 is white
Numbers = NDArray[np.float64]
HASH_SIDE = 8
HASH_SOURCE_SIDE = 32
LOOKED_AT_SIDE = 480  # pixels of the short side; larger pictures are scaled down to it for checks
BLUR_WINDOW = 9  # pixels
SMALLEST_EDGE = 3  # levels of 255 from pixel to pixel
# Pairs of softness and steepness. A picture is blurred if, for one pair, its softness is higher and
# its steepness is lower. Measured on 18 photographs as clips of 832 x 480: sharp photographs have
# softness 0.11 to 0.51 and steepness 0.13 to 0.5 (0.07 for a page with little text). After a blur
# with a radius of 8 pixels, most have softness 0.6 to 0.8 and steepness 0.03 to 0.06. Strong
# compression lowers softness, but not steepness. In the tests' clean set, which also has dark, slow
# and text clips, steepness is at least 0.143.
BLURRED = ((0.6, 0.065), (0.33, 0.035))
BLACK = 8  # levels of 255; a pixel counts as black up to this level
BRIGHT_EDGE = 32  # levels of 255; pixels next to a bar are brighter than this
BLANK = 4  # largest range of levels; encoding a single colour gives a range of up to 2
SMALLEST_BAR = 0.025  # share of the height or width


@dataclass(frozen=True, slots=True)
class Look:
    """The perceptual hashes (`prints`) and visible flaws (`notes`) of an image or clip."""

    prints: tuple[int, ...]
    notes: tuple[Note, ...]


def look_at_image(rgb: Image.Image) -> Look:
    """Return an image's perceptual hash and its visible flaws."""
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
    """Return a 64-bit hash; similar pictures have hashes that differ in few bits.

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
    """Whether a picture is blurred: blurring it again changes little, and no edge is steep."""
    steepest = steepness(luma)
    # Steepness alone settles most pictures. Softness takes ten times as long.
    if steepest >= max(steep for _, steep in BLURRED):
        return False
    soft_edges = softness(luma)
    return any(soft_edges > soft and steepest < steep for soft, steep in BLURRED)


def is_black(luma: Luma) -> bool:
    """Whether at least 99.9% of the pixels are black; a picture that is merely dark has fewer."""
    return int(np.count_nonzero(luma > BLACK)) * 1000 <= luma.size


def is_blank(luma: Luma) -> bool:
    """Whether all pixels have nearly the same level, as in an overexposed picture or a fade."""
    return int(luma.max()) - int(luma.min()) <= BLANK


def has_bars(brightest: Luma) -> bool:
    """Whether a picture has equally large black bars at top and bottom, or left and right.

    Args:
        brightest: The picture; for a clip, the maximum of each pixel over its frames.
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
    # More than half of the row next to a bar is bright. This distinguishes a bar from a black
    # background around a subject.
    inside = luma[[min(above + 3, height - 1), max(height - 1 - below - 3, 0)]]
    return bool((np.mean(inside > BRIGHT_EDGE, axis=1) > 0.5).all())


def softness(luma: Luma) -> float:
    """Return the share of the edges, from 0 to 1, that is left if the picture is blurred again.

    Source: Crete et al., "The blur effect: perception and estimation with a new no-reference
    perceptual blur metric" (2007). Unlike in the paper, steps that may be due to rounding are left
    out.
    """
    pixels = luma.astype(np.float32)
    return max(_softness_down(pixels), _softness_down(np.ascontiguousarray(pixels.T)))


def _softness_down(pixels: NDArray[np.float32]) -> float:
    sums = np.cumsum(np.pad(pixels, ((1, 0), (0, 0))), axis=0)  # float32 is exact below 2 ** 24
    blurred = (sums[BLUR_WINDOW:] - sums[:-BLUR_WINDOW]) / BLUR_WINDOW
    margin = BLUR_WINDOW // 2
    before = np.abs(np.diff(pixels[margin : len(pixels) - margin], axis=0))
    lost = np.maximum(0, before - np.abs(np.diff(blurred, axis=0)))
    is_edge = before >= SMALLEST_EDGE
    total = float(before[is_edge].sum())
    return 1 - float(lost[is_edge].sum()) / total if total else 0.0


def steepness(luma: Luma) -> float:
    """Return the step from pixel to pixel at the steepest edges, as a share of the contrast."""
    pixels = luma.astype(np.int16)
    down, across = np.abs(np.diff(pixels, axis=0)), np.abs(np.diff(pixels, axis=1))
    steps = np.maximum(down[:, :-1], across[:-1])
    darkest, brightest = _level(luma, 0.01), _level(luma, 0.99)
    return _level(steps, 0.995) / max(brightest - darkest, 1)


def _level(values: NDArray[np.uint8] | NDArray[np.int16], part: float) -> int:
    """Return a quantile of values from 0 to 255; `part` is 0.99 for the 99th percentile."""
    counts = np.bincount(values.ravel(), minlength=256)
    return int(np.searchsorted(np.cumsum(counts), part * values.size))


def _dct_matrix() -> Numbers:
    side = HASH_SOURCE_SIDE
    rows, columns = np.mgrid[0:side, 0:side]
    return np.cos(np.pi * (2 * columns + 1) * rows / (2 * side))


_DCT = _dct_matrix()
