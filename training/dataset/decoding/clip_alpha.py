"""Transparent parts of clips: put on white, as those of images are."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from training.dataset.decoding.image import PAPER

OPAQUE = 255
LIMITED_RANGE = 1  # number of ITU-T H.273


def has_alpha(frame: VideoFrame) -> bool:
    """Whether the frame has a channel for transparency, used or not."""
    return any(part.is_alpha for part in frame.format.components)


def drops_alpha(stream: VideoStream) -> bool:
    """Whether the clip says that it has transparent parts which the decoder does not read."""
    return stream.metadata.get("alpha_mode") == "1"  # of WebM


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
