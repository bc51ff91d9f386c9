"""A chart of colours filmed in every way that clips store, made without the code under test."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

PATCHES: tuple[tuple[int, int, int], ...] = (
    *((200, 30, 40), (40, 160, 60), (40, 60, 180), (220, 200, 40)),
    *((180, 60, 180), (60, 180, 190), (190, 120, 90), (235, 200, 180)),
    *((90, 60, 45), (16, 16, 16), (128, 128, 128), (245, 245, 245)),
)
COLUMNS, ROWS, SIDE = 4, 3, 64  # pixels
WIDTH, HEIGHT = COLUMNS * SIDE, ROWS * SIDE
FRAMES = 21

# Kr and Kb of ITU-T H.273, table 4.
WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
# x and y of red, green, blue and white; table 2.
_D65, _DCI, _C = (0.3127, 0.3290), (0.314, 0.351), (0.310, 0.316)
PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
}
WIDE_PRIMARIES = (4, 8, 9, 11, 12)
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """How a clip of the chart is stored; tags are numbers of ITU-T H.273.

    Attributes:
        matrix: None leaves it untagged; `weights` is the actual matrix.
    """

    container: str = "mp4"
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    matrix: int | None = 1
    is_full: bool = False
    primaries: int = 1
    transfer: int = 1
    weights: int | None = None
    scale: int = 1
    options: tuple[tuple[str, str], ...] = (("qp", "0"), ("preset", "ultrafast"))
    fps: int = 16


def chart(scale: int = 1) -> NDArray[np.uint8]:
    """Return the chart [h, w, 3] in sRGB."""
    rows = np.array(PATCHES, np.uint8).reshape(ROWS, COLUMNS, 3)
    return rows.repeat(SIDE * scale, axis=0).repeat(SIDE * scale, axis=1)


def patches(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the middle of each patch of a picture of the chart: [12, 3]."""
    height, width = pixels.shape[0] // ROWS, pixels.shape[1] // COLUMNS
    middles = pixels[height // 2 :: height, width // 2 :: width]
    return middles[:ROWS, :COLUMNS].reshape(-1, 3)


def film(how: Film) -> bytes:
    """Return a clip of the chart."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=how.container) as container:
        stream = container.add_stream(how.codec, rate=how.fps, options=dict(how.options))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = WIDTH * how.scale, HEIGHT * how.scale
        stream.pix_fmt = how.pix_fmt
        context = stream.codec_context
        context.time_base = Fraction(1, how.fps)
        context.colorspace = 2 if how.matrix is None else how.matrix
        context.color_range = 2 if how.is_full else 1
        context.color_primaries = how.primaries
        context.color_trc = how.transfer
        for index in range(FRAMES):
            frame = _stored(how)
            frame.time_base, frame.pts = context.time_base, index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _stored(how: Film) -> VideoFrame:
    """Return a frame with the chart's numbers as this clip stores them."""
    signal = _in_primaries(chart(how.scale) / 255.0, how.primaries, how.transfer)
    frame = VideoFrame(signal.shape[1], signal.shape[0], how.pix_fmt)
    bits = frame.format.components[0].bits
    for plane, values in zip(frame.planes, _planes(signal, how, frame, bits), strict=True):
        stored = values.astype("<u2" if bits > 8 else np.uint8)
        row = plane.line_size // stored.dtype.itemsize
        full = np.zeros((plane.height, row), stored.dtype)
        full[:, : stored.shape[1]] = stored
        plane.update(full.tobytes())
    frame.colorspace = 2 if how.matrix is None else how.matrix
    frame.color_range = 2 if how.is_full else 1
    return frame


def _planes(signal: Floats, how: Film, frame: VideoFrame, bits: int) -> Iterator[Floats]:
    most = 2**bits - 1
    if frame.format.name.startswith("gbr"):
        for channel in (1, 2, 0):
            yield np.round(signal[..., channel] * most)
        return
    if frame.format.name == "rgb24":
        yield np.round(signal * most).reshape(signal.shape[0], -1)
        return
    red, blue = WEIGHTS[how.weights or how.matrix or 1]
    luma = signal @ np.array([red, 1 - red - blue, blue])
    unit = 2 ** (bits - 8)
    yield np.round(luma * most if how.is_full else (16 + 219 * luma) * unit)
    if frame.format.name.startswith("gray"):
        return
    for channel, weight in ((2, blue), (0, red)):
        chroma = (signal[..., channel] - luma) / (2 * (1 - weight))
        plane = frame.planes[1 if channel == 2 else 2]
        down = signal.shape[0] // plane.height
        across = signal.shape[1] // (plane.width)
        chroma = chroma[::down, ::across]
        middle = 2 ** (bits - 1)
        yield np.round(chroma * most + middle if how.is_full else 224 * unit * chroma + middle)


def _in_primaries(signal: Floats, primaries: int, transfer: int) -> Floats:
    if primaries not in WIDE_PRIMARIES:  # SD's: tagged, but not converted to, as most programs do
        return signal
    to_linear, to_signal = _CURVES[transfer]
    white_from, white_to = (_xyz(PRIMARIES[number][3]) for number in (1, primaries))
    adapt = _adaptation(white_from, white_to)
    matrix = np.linalg.solve(_to_xyz(primaries), adapt @ _to_xyz(1))
    return to_signal(np.clip(to_linear(signal) @ matrix.T, 0, 1))


Curve = Callable[[Floats], Floats]


def _gamma(power: float) -> tuple[Curve, Curve]:
    return lambda signal: signal**power, lambda linear: linear ** (1 / power)


def _curve(alpha: float, beta: float, gamma: float, delta: float) -> tuple[Curve, Curve]:
    """Return a power function with a linear part up to `beta`, and its inverse first."""

    def to_linear(signal: Floats) -> Floats:
        power = ((signal + alpha - 1) / alpha) ** (1 / gamma)
        return np.where(signal < delta * beta, signal / delta, power)

    def to_signal(linear: Floats) -> Floats:
        return np.where(linear < beta, linear * delta, alpha * linear**gamma - (alpha - 1))

    return to_linear, to_signal


# Table 3: each transfer function's way to linear light and back.
_CURVES = {
    1: _curve(1.099, 0.018, 0.45, 4.5),
    4: _gamma(2.2),
    5: _gamma(2.8),
    7: _curve(1.1115, 0.0228, 0.45, 4.0),
    13: _curve(1.055, 0.0031308, 1 / 2.4, 12.92),
}


def _to_xyz(primaries: int) -> Floats:
    *colours, white = PRIMARIES[primaries]
    matrix = np.array([(x, y, 1 - x - y) for x, y in colours]).T
    return matrix * np.linalg.solve(matrix, _xyz(white))


def _xyz(xy: tuple[float, float]) -> Floats:
    return np.array([xy[0] / xy[1], 1.0, (1 - xy[0] - xy[1]) / xy[1]])


def _adaptation(before: Floats, after: Floats) -> Floats:
    """Return Bradford's matrix from one white to another."""
    cone = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    return np.linalg.solve(cone, np.diag((cone @ after) / (cone @ before)) @ cone)
