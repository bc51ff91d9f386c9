"""Camera moves over the photographs that scikit-image ships."""

from collections.abc import Iterator
from functools import cache
from importlib.metadata import files

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.media import Pixels

Box = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of the photograph
# The pictures are read as files, because importing skimage takes a second.
_SHIPPED = {path.name: path for path in files("scikit-image") or [] if "data" in path.parts}


@cache
def photograph(name: str) -> Image.Image:
    """Return one of scikit-image's pictures in RGB, such as `motorcycle_left.png`."""
    with Image.open(str(_SHIPPED[name].locate())) as image:
        photo = image.convert("RGB")
    photo.info.clear()  # otherwise its profile is written into every copy
    return photo


def camera_move(
    photo: Image.Image, start: Box, end: Box, *, frames: int, size: tuple[int, int]
) -> Iterator[Pixels]:
    """Yield the RGB frames [h, w, 3] of a steady move from one part of a photograph to another."""
    scale = np.array([photo.width, photo.height] * 2)
    first, last = np.array(start) * scale, np.array(end) * scale
    for index in range(frames):
        left, top, right, bottom = first + (last - first) * index / max(1, frames - 1)
        yield np.asarray(
            photo.resize(size, Image.Resampling.BICUBIC, box=(left, top, right, bottom))
        )


def framed(photo: Image.Image, size: tuple[int, int], zoom: float, x: float, y: float) -> Box:
    """Return the part of a photograph with the aspect of `size`.

    Args:
        photo: Where to look.
        size: Width and height of the clip.
        zoom: 1 for the largest part with that aspect, 2 for half its width.
        x: Where between the left and the right edge, 0 to 1.
        y: Where between top and bottom.
    """
    aspect = size[0] / size[1] * photo.height / photo.width
    width, height = (min(1.0, aspect) / zoom, min(1.0, 1 / aspect) / zoom)
    left, top = (1 - width) * x, (1 - height) * y
    return left, top, left + width, top + height


def written_page(size: tuple[int, int], *, is_dark: bool = False) -> Image.Image:
    """Draw a page full of text, as in a recorded screen or title card."""
    ground, ink = ((18, 20, 24), (214, 214, 206)) if is_dark else ((250, 248, 240), (24, 24, 30))
    page = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=22)
    line = "The quick brown fox jumps over the lazy dog while 12 wizards watch in silence. "
    for row in range(size[1] // 34):
        draw.text((20, 12 + 34 * row), line[row % 40 :] + line[: row % 40], ink, font)
    return page
