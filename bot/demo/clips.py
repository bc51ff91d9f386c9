"""Generates a dataset: PNGs and MP4s of a ball bouncing through a room."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

_SIZE = (832, 480)
_FPS = 24  # Wan trains at 16 fps, so the bot has to convert these clips
_SECONDS = (3.2, 2.2)
_IMAGES = 3
_COLOURS = ("tomato", "goldenrod", "seagreen", "steelblue", "orchid")


def write_dataset(path: Path) -> Path:
    """Write a dataset zip, with one folder for images and one for clips; return `path`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(_IMAGES):
            archive.writestr(f"annika/images/{index:03d}.png", _png(index))
            archive.writestr(f"annika/images/{index:03d}.txt", _caption(index, "photo"))
        for index, seconds in enumerate(_SECONDS, start=1):
            archive.writestr(f"annika/videos/{index:03d}.mp4", _mp4(index, seconds))
            archive.writestr(f"annika/videos/{index:03d}.txt", _caption(index, "clip"))
    return path


def _caption(index: int, kind: str) -> str:
    colour = _COLOURS[index % len(_COLOURS)]
    return f"ann1ka, a {kind} of a {colour} ball bouncing through a room, scene {index}\n"


def _frame(index: int, seconds: float) -> Image.Image:
    """Draw the room and the ball at its position after `seconds`."""
    width, height = _SIZE
    rng = np.random.default_rng(index)
    walls = Image.fromarray(rng.integers(60, 200, (6, 8, 3), dtype=np.uint8))
    room = walls.resize(_SIZE, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))
    x = width * (0.1 + 0.8 * abs((seconds * 0.4 + index * 0.3) % 2 - 1))
    y = height * (0.8 - 0.6 * abs(np.sin(seconds * 2.5 + index)))
    radius = height // 9
    ball = (x - radius, y - radius, x + radius, y + radius)
    ImageDraw.Draw(room).ellipse(ball, fill=_COLOURS[index % len(_COLOURS)], outline="black")
    return room


def _png(index: int) -> bytes:
    data = io.BytesIO()
    _frame(index, 0.7 * index).save(data, "PNG")
    return data.getvalue()


def _frames(index: int, seconds: float) -> Iterator[npt.NDArray[np.uint8]]:
    for number in range(round(seconds * _FPS)):
        yield np.asarray(_frame(index, number / _FPS))


def _mp4(index: int, seconds: float) -> bytes:
    data = io.BytesIO()
    with av.open(data, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *_SIZE, "yuv420p"
        for pixels in _frames(index, seconds):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return data.getvalue()
