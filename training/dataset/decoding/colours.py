"""Converts the colours of clips by their tags, which are numbers from ITU-T H.273.

musubi-tuner pins PyAV 14, whose `to_image()` reads every clip as BT.601 (PyAV issues 873 and 2230).
So repair writes clips in BT.601, and any other clip is read through this module, with the same
result in PyAV 14 and newer versions. It also runs in musubi-tuner's environment, so it imports
nothing but PyAV.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from av.filter import Graph
from av.video.frame import VideoFrame

Filters = list[tuple[str, str | None]]

BT601, BT709 = 6, 1
LIMITED_RANGE, FULL_RANGE = 1, 2
# These numbers mean "unspecified" and "reserved", so they count as no tag.
_UNTAGGED = (2, 3)
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
_STRANGE_MATRICES = {
    8: "YCgCo",
    10: "BT.2020 constant luminance",
    11: "Y'D'zD'x",
    12: "chromaticity-derived",
    13: "chromaticity-derived constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
_STRANGE_TRANSFERS = {8: "linear light", 9: "log", 10: "log", 17: "SMPTE ST 428"}
# ffmpeg's `colorspace` filter converts this number from the primaries of CIE RGB instead.
_STRANGE_PRIMARIES = {10: "CIE XYZ"}
# The name of each number in ffmpeg's `colorspace` filter, and its display name. SD
# primaries (5, 6, 7 and 22) are missing, because they are not converted: they are close to sRGB's,
# and most programs write these tags although the pixels are in sRGB.
_PRIMARIES = {
    4: ("bt470m", "NTSC of 1953"),
    8: ("film", "film"),
    9: ("bt2020", "BT.2020"),
    11: ("smpte431", "DCI-P3"),
    12: ("smpte432", "Display P3"),
}
# ffmpeg's names for the curves of transfer functions. Primaries are converted in linear light: the
# clip's curve is undone before the conversion and applied again afterwards.
_CURVES = {4: "gamma22", 5: "gamma28", 7: "smpte240m", 13: "iec61966-2-1"}
_EXACT = "accurate_rnd+full_chroma_int"
# This offset is added to each 12-bit level. PyAV's `to_image()` rounds down, so each channel would
# be about one 8-bit level too dark. With the offset, it is a third of a level too dark in
# `to_image()`, and two thirds of a level too bright in a reader that rounds correctly.
_HALF_A_LEVEL = 8
# Players assume BT.709 for an untagged clip that is wider or taller than this (mpv, csputils.c).
_SD_WIDTH, _SD_HEIGHT = 1279, 576


class StrangeColoursError(ValueError):
    """The clip's colours cannot be converted; the message names them, such as "ICtCp"."""


@dataclass(frozen=True, slots=True)
class ClipColours:
    """How to read the stored levels of a clip.

    Attributes:
        matrix: The matrix from luma and chroma to RGB, as ffmpeg's filters name it; None if the
            clip is stored as RGB.
        is_full_range: Whether black is stored as 0 rather than 16.
        primaries: H.273 number of the primaries; BT.709 if the clip names none.
        transfer: H.273 number of the transfer function; BT.709 if the clip names none.
        is_guessed: True if no tag names the matrix. It is then guessed from the clip's size, as
            video players do.
        limited_grey_bits: Bits per level of a grey clip in limited range; 0 for any other clip.
    """

    matrix: str | None
    is_full_range: bool
    primaries: int = BT709
    transfer: int = BT709
    is_guessed: bool = False
    limited_grey_bits: int = 0

    @property
    def primaries_name(self) -> str | None:
        """The primaries' display name, such as "BT.2020"; None if they need no conversion."""
        return _PRIMARIES[self.primaries][1] if self.primaries in _PRIMARIES else None

    def rgb_filters(
        self, pixels: str = "rgb24", size: tuple[int, int] | None = None, scaler: str = "bicubic"
    ) -> Filters:
        """Return the filters that convert frames to sRGB.

        Args:
            pixels: Pixel format of the result.
            size: Width and height of the result; unchanged if None.
            scaler: ffmpeg's name of the scaling method, used for the chroma and for `size`.
        """
        scaled = f"{size[0]}:{size[1]}:" if size else ""
        steps, source = self._to_srgb_primaries()
        last = f"{scaled}{source}:out_range=full:flags={scaler}+{_EXACT}"
        return [*steps, ("scale", last), ("format", pixels)]

    def bt601_filters(self) -> Filters:
        """Return the filters that convert frames to the format of repaired clips: BT.601, 4:2:0."""
        steps, source = self._to_srgb_primaries()
        last = f"{source}:out_color_matrix=bt601:out_range=limited:flags=bicubic+{_EXACT}"
        return [
            *steps,
            ("scale", last),
            ("format", "yuv420p12le"),
            ("lutyuv", f"y=val+{_HALF_A_LEVEL}"),
            ("scale", "sws_dither=none"),
            ("format", "yuv420p"),
        ]

    def with_srgb_primaries(self) -> "ClipColours":
        """Return a copy that claims sRGB's primaries, so that the filters do not convert them."""
        return replace(self, primaries=BT709)

    def _to_srgb_primaries(self) -> tuple[Filters, str]:
        """Return filters that convert to sRGB's primaries, and the next filter's input options."""
        source = self._source()
        if self.limited_grey_bits:
            return [_stretched(self.limited_grey_bits)], source
        if self.primaries not in _PRIMARIES:
            return [], source
        # `colorspace` reads and writes only YUV. Its output gets the same curve as its input.
        wanted = "out_color_matrix=bt709:out_range=limited:sws_dither=none"
        to_yuv = f"{source}:{wanted}:flags=bicubic+{_EXACT}"
        curve = _CURVES.get(self.transfer, "bt709")
        convert = (
            f"ispace=bt709:irange=tv:itrc={curve}:iprimaries={_PRIMARIES[self.primaries][0]}"
            f":space=bt709:range=tv:trc={curve}:primaries=bt709"
        )
        steps: Filters = [("scale", to_yuv), ("format", "yuv444p12le"), ("colorspace", convert)]
        return steps, "in_color_matrix=bt709:in_range=limited"

    def _source(self) -> str:
        span = f"in_range={'full' if self.is_full_range else 'limited'}"
        return span if self.matrix is None else f"in_color_matrix={self.matrix}:{span}"


def _stretched(bits: int) -> tuple[str, str]:
    """Return a filter that converts grey from limited to full range.

    ffmpeg's `scale` cannot do this, because it treats all grey as full range.
    """
    most, unit = 2**bits - 1, 2 ** (bits - 8)
    return "lut", f"c0=clip((val-{16 * unit})*{most}/{219 * unit}\\,0\\,{most})"


# The colours of frames that are already converted to sRGB, for example by `Flattener`.
SRGB = ClipColours(matrix=None, is_full_range=True)


@dataclass(frozen=True, slots=True)
class Tags:
    """A container's colour tags, as numbers of H.273; 0 if a tag is missing."""

    colorspace: int = 0
    color_range: int = 0
    color_primaries: int = 0
    color_trc: int = 0


def tags_of(context: Any) -> Tags:
    """Return a codec context's colour tags. Call this before decoding, which overwrites them."""
    return Tags(*(int(getattr(context, name, 0) or 0) for name in Tags.__slots__))


def colours_of(frame: VideoFrame, tags: Tags) -> ClipColours:
    """Return a clip's colours according to the tags of its first frame, or else of its container.

    Raises:
        StrangeColoursError: The colours cannot be converted.
    """
    transfer = _tag(frame, tags, "color_trc") or BT709
    if transfer in _STRANGE_TRANSFERS:
        raise StrangeColoursError(_STRANGE_TRANSFERS[transfer])
    matrix = _tag(frame, tags, "colorspace")
    if matrix in _STRANGE_MATRICES:
        raise StrangeColoursError(_STRANGE_MATRICES[matrix])
    primaries = _tag(frame, tags, "color_primaries") or BT709
    if primaries in _STRANGE_PRIMARIES:
        raise StrangeColoursError(_STRANGE_PRIMARIES[primaries])
    is_rgb, is_grey = _is_rgb(frame), frame.format.name.startswith("gray")
    is_limited = _tag(frame, tags, "color_range") == LIMITED_RANGE
    is_hd = frame.width > _SD_WIDTH or frame.height > _SD_HEIGHT
    name = _MATRICES.get(matrix, "bt709" if is_hd else "bt601")
    is_full = "yuvj" in frame.format.name or _tag(frame, tags, "color_range") == FULL_RANGE
    return ClipColours(
        matrix=None if is_rgb else name,
        is_full_range=is_rgb or is_full,
        primaries=primaries,
        transfer=transfer,
        is_guessed=matrix not in _MATRICES and not is_rgb and not is_grey,
        limited_grey_bits=frame.format.components[0].bits if is_grey and is_limited else 0,
    )


def _tag(frame: VideoFrame, tags: Tags, name: str) -> int:
    """Return a colour tag of the frame, or else of the container; 0 if both lack it."""
    for place in (frame, tags):  # frames in PyAV 14 lack some of the tags
        number = int(getattr(place, name, 0) or 0)
        if number and (name == "color_range" or number not in _UNTAGGED):
            return number
    return 0


def _is_rgb(frame: VideoFrame) -> bool:
    name = frame.format.name
    return frame.format.is_rgb or name.startswith(("gbr", "pal8", "mono"))


class Converter:
    """Runs the frames of a clip through filters; all frames must have the same size and format."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._graph: Graph | None = None

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """Run a frame through the filters and return the result."""
        graph = self._graph = self._graph or linked(self._filters, frame)
        graph.push(frame)
        converted = graph.pull()
        assert isinstance(converted, VideoFrame)
        return converted


def linked(filters: Filters, first: VideoFrame) -> Graph:
    """Return a graph of these filters, one after the other, for frames like `first`."""
    graph = Graph()
    last = graph.add_buffer(
        width=first.width,
        height=first.height,
        format=first.format,
        time_base=first.time_base or Fraction(1, 16),
    )
    for name, arguments in filters:
        node = graph.add(name, arguments)
        last.link_to(node)
        last = node
    last.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
