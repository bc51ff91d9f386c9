"""Places transparent clips on white, as is done for images."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from training.dataset.decoding.image import PAPER

OPAQUE = 255
LIMITED_RANGE = 1  # number of ITU-T H.273


def has_alpha(frame: VideoFrame) -> bool:
    """Whether the frame has an alpha channel, used or not."""
    return any(part.is_alpha for part in frame.format.components)


def drops_alpha(stream: VideoStream) -> bool:
    """Whether the clip is marked as transparent in a form that the decoder ignores."""
    return stream.metadata.get("alpha_mode") == "1"  # WebM


def flattened(frame: VideoFrame) -> tuple[VideoFrame, int]:
    """Return the frame on white in yuv420p, BT.709, and its lowest opacity, of 255."""
    pixels = frame.reformat(format="rgba").to_ndarray()
    alpha = pixels[..., 3:].astype(np.uint16)
    paper = np.array(PAPER, np.uint16)
    flat = (pixels[..., :3] * alpha + paper * (OPAQUE - alpha) + OPAQUE // 2) // OPAQUE
    plain = VideoFrame.from_ndarray(flat.astype(np.uint8), format="rgb24")
    plain = plain.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=LIMITED_RANGE
    )
    return plain, int(alpha.min())
