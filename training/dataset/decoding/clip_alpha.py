"""Places the frames of transparent clips on a white background."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from training.dataset.decoding.colours import ClipColours, Converter
from training.dataset.decoding.image import PAPER

OPAQUE = 255


def has_alpha(frame: VideoFrame) -> bool:
    """Whether the frame has an alpha channel; all of its pixels may still be opaque."""
    return any(part.is_alpha for part in frame.format.components)


def drops_alpha(stream: VideoStream) -> bool:
    """Whether a clip has transparency that the decoder ignores, as in WebM."""
    return stream.metadata.get("alpha_mode") == "1"


class Flattener:
    """Places the frames of one clip on a white background and converts them to sRGB."""

    def __init__(self, colours: ClipColours) -> None:
        self._opaque = Converter(colours.rgb_filters("rgb24"))
        # Only the alpha channel of this converter's frames is used. Converting the primaries would
        # drop that channel.
        self._layered = Converter(colours.with_srgb_primaries().rgb_filters("rgba"))

    def flatten(self, frame: VideoFrame) -> tuple[VideoFrame, int]:
        """Return the frame on a white background in 8-bit RGB, and its lowest opacity, 0 to 255."""
        pixels = self._opaque.convert(frame).to_ndarray()
        alpha = self._layered.convert(frame).to_ndarray()[..., 3:].astype(np.uint16)
        paper = np.array(PAPER, np.uint16)
        flat = (pixels * alpha + paper * (OPAQUE - alpha) + OPAQUE // 2) // OPAQUE
        plain = VideoFrame.from_ndarray(flat.astype(np.uint8), format="rgb24")
        plain.time_base, plain.pts = frame.time_base, frame.pts
        return plain, int(alpha.min())
