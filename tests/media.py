"""Real media for tests and demonstrations: PNG, JPEG and MP4 bytes, and zips of them."""

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[np.uint8]


def picture(width: int = 320, height: int = 192, *, seed: int = 0) -> Image.Image:
    """Draw an RGB picture with soft and sharp shapes and grain; each seed gives another."""
    rng = np.random.default_rng(seed)
    layers = np.zeros((height, width, 3), dtype=np.float32)
    for cells, weight in ((3, 110.0), (9, 70.0), (40, 45.0)):
        grid = rng.random((cells, cells, 3), dtype=np.float32) * 255
        soft = Image.fromarray(grid.astype(np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        layers += np.asarray(soft, dtype=np.float32) / 255 * weight
    image = Image.fromarray(np.clip(layers, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for left, top, size in rng.random((24, 3)):
        corner = (left * width, top * height)
        far = (corner[0] + 8 + size * 60, corner[1] + 8 + size * 40)
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        (draw.ellipse if size > 0.5 else draw.rectangle)((*corner, *far), fill=colour)
    grain = rng.normal(0, 4, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def image_bytes(image: Image.Image, format: str = "PNG", **options: object) -> bytes:  # noqa: A002 - Pillow's own word
    """Encode an image in any format that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width: int = 320, height: int = 192, *, seed: int = 0) -> bytes:
    """Return a PNG file."""
    return image_bytes(picture(width, height, seed=seed), "PNG")


def jpeg(width: int = 320, height: int = 192, *, seed: int = 0, quality: int = 90) -> bytes:
    """Return a JPEG file."""
    return image_bytes(picture(width, height, seed=seed), "JPEG", quality=quality)


def pan(frames: int, width: int, height: int, *, seed: int = 0) -> Iterator[Pixels]:
    """Yield the RGB frames [h, w, 3] of a slow diagonal pan over one picture."""
    step = 2
    wide = np.asarray(picture(width + step * frames, height + frames, seed=seed))
    for index in range(frames):
        left, top = index * step, index
        yield np.ascontiguousarray(wide[top : top + height, left : left + width])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFormat:
    """How a test clip is stored; the default is close to what `repair` writes."""

    container: str = "mp4"
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    has_audio: bool = False
    colorspace: int | None = 6  # BT.601, as repair writes it; None leaves the clip untagged
    color_primaries: int = 1
    color_trc: int = 1
    options: tuple[tuple[str, str], ...] = (("crf", "20"), ("preset", "ultrafast"))


def mp4(
    frames: int = 33,
    *,
    fps: int | Fraction = 16,
    width: int = 320,
    height: int = 192,
    seed: int = 0,
) -> bytes:
    """Return an MP4 clip (H.264, constant frame rate) that pans over a picture."""
    return encode_clip(pan(frames, width, height, seed=seed), fps=fps)


def encode_clip(
    pixels: Iterable[Pixels],
    *,
    fps: int | Fraction = 16,
    stored: ClipFormat | None = None,
    times: Sequence[Fraction] | None = None,
) -> bytes:
    """Encode RGB frames [h, w, 3]; `times` are the frames' times in seconds."""
    stored = stored or ClipFormat()
    buffer = io.BytesIO()
    images = list(pixels)
    time_base = 1 / Fraction(fps) if times is None else Fraction(1, 90_000)
    with av.open(buffer, "w", format=stored.container) as container:
        stream = container.add_stream(
            stored.codec, rate=Fraction(fps), options=dict(stored.options)
        )
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = stored.pix_fmt
        context = stream.codec_context
        context.time_base = time_base
        if stored.colorspace is not None:
            context.colorspace = stored.colorspace
            context.color_primaries = stored.color_primaries
            context.color_trc = stored.color_trc
            context.color_range = 1
        sound = container.add_stream("aac", rate=48_000) if stored.has_audio else None
        for index, array in enumerate(images):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            space = "ITU709" if stored.colorspace == 1 else "ITU601"
            frame = frame.reformat(format=stored.pix_fmt, dst_colorspace=space)
            frame.time_base = time_base
            frame.pts = index if times is None else round(times[index] / time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            silence = np.zeros((1, 2 * 48_000), dtype=np.int16)
            frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
            frame.sample_rate = 48_000
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return buffer.getvalue()


def zip_bytes(files: Mapping[str, bytes | str]) -> bytes:
    """Zip the files in the order given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def write_zip(path: Path, files: Mapping[str, bytes | str]) -> Path:
    """Write the files as a zip to `path` and return it."""
    path.write_bytes(zip_bytes(files))
    return path


def guide_files(
    *, images: int = 3, clips: int = 2, frames: int = 49, width: int = 320, height: int = 192
) -> dict[str, bytes | str]:
    """Return a dataset in the guide's layout: `images/` and `videos/`, a caption beside each."""
    files: dict[str, bytes | str] = {}
    for index in range(images):
        files[f"images/{index:03d}.png"] = png(width, height, seed=index)
        files[f"images/{index:03d}.txt"] = f"ann1ka, portrait number {index}, soft window light"
    for index in range(1, clips + 1):
        files[f"videos/{index:03d}.mp4"] = mp4(frames, width=width, height=height, seed=100 + index)
        files[f"videos/{index:03d}.txt"] = f"ann1ka walks past the camera, take {index}"
    return files
