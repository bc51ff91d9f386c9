"""The rehearsal's captioner: it writes down what can be measured, and recognizes nothing."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.captioning.captioner import CaptionRequest

_COLOURS = {
    "red": (200, 40, 40), "orange": (230, 140, 40), "yellow": (230, 220, 60),
    "green": (60, 150, 60), "teal": (50, 150, 150), "blue": (50, 80, 190),
    "purple": (130, 60, 160), "pink": (230, 140, 180), "brown": (110, 75, 45),
    "beige": (220, 200, 165), "black": (15, 15, 15), "grey": (128, 128, 128),
    "white": (240, 240, 240),
}  # fmt: skip
_SIDE = 32  # pictures are measured at 32 x 32
_MOST_COLOURS, _SMALLEST_SHARE = 3, 0.12
_DARK, _BRIGHT = 70, 180  # mean brightness of 255
_STILL, _LIVELY = 2.0, 12.0  # mean change of brightness between two frames, of 255
_SQUARE = 1.1
Pixels = NDArray[np.float64]


class MeasuringCaptioner:
    """Describes size, length, movement, brightness and colours; it needs no model and no GPU."""

    label = "rehearsal stand-in (measures only)"
    asks_first = False
    remark = (
        "This is the rehearsal's stand-in: it measures size, movement and colours, and does not "
        "see what the pictures show."
    )

    def propose(self, request: CaptionRequest) -> str:
        pictures = [_pixels(frame) for frame in request.frames]
        parts = [
            *([request.trigger] if request.trigger else []),
            f"{_orientation(request.width, request.height)} {_medium(request)}",
            f"{request.width} x {request.height} pixels",
            *([_movement(pictures)] if request.kind == "video" else []),
            _brightness(pictures),
            f"mostly {' and '.join(_colours(pictures))}",
        ]
        return ", ".join(parts)


def _pixels(frame: Image.Image) -> Pixels:
    small = frame.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float64)


def _orientation(width: int, height: int) -> str:
    if max(width, height) <= _SQUARE * min(width, height):
        return "square"
    return "landscape" if width > height else "portrait"


def _medium(request: CaptionRequest) -> str:
    return "image" if request.kind == "image" else f"clip of {request.seconds:.1f} seconds"


def _movement(pictures: Sequence[Pixels]) -> str:
    changes = [float(np.abs(one - other).mean()) for one, other in pairwise(pictures)]
    change = max(changes, default=0.0)
    if change < _STILL:
        return "almost no movement"
    return "much movement" if change > _LIVELY else "some movement"


def _brightness(pictures: Sequence[Pixels]) -> str:
    mean = float(np.mean([picture.mean() for picture in pictures]))
    return "dark" if mean < _DARK else "bright" if mean > _BRIGHT else "medium brightness"


def _colours(pictures: Sequence[Pixels]) -> list[str]:
    """Return the names of the most frequent colours, most frequent first."""
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures])
    names, values = list(_COLOURS), np.array(list(_COLOURS.values()), np.float64)
    nearest = ((pixels[:, None] - values) ** 2).sum(axis=2).argmin(axis=1)
    counts = np.bincount(nearest, minlength=len(names))
    order = sorted(range(len(names)), key=lambda index: (-int(counts[index]), index))
    frequent = [
        names[i] for i in order[:_MOST_COLOURS] if counts[i] >= _SMALLEST_SHARE * len(pixels)
    ]
    return frequent or [names[order[0]]]
