"""Opens an untrusted clip and decodes it frame by frame, with time stamps."""

import struct
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from training.dataset.report import UnreadableError

# Only plain containers: playlists and image sequences can refer to other files and addresses.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,mpegvideo"
EXTENSIONS = {
    "mov": {".mp4", ".mov", ".m4v", ".3gp"},
    "matroska": {".mkv", ".webm"},
    "avi": {".avi"},
    "flv": {".flv"},
    "asf": {".wmv"},
    "mpeg": {".mpg", ".mpeg"},
    "mpegts": {".mpg", ".mpeg", ".ts", ".mts", ".m2ts"},
    "mpegvideo": {".mpg", ".mpeg"},
}


@dataclass(frozen=True, slots=True)
class FrameShape:
    """The displayed size of a clip: upright, with square pixels, before it is made even.

    Attributes:
        rotation: Anticlockwise rotation in degrees.
        is_mirrored: Flipped horizontally before the rotation.
    """

    width: int
    height: int
    rotation: int
    is_square_pixels: bool
    is_mirrored: bool = False

    @property
    def even(self) -> tuple[int, int]:
        """Width and height rounded down to even numbers, as yuv420p requires."""
        return self.width - self.width % 2, self.height - self.height % 2


@contextmanager
def open_clip(path: Path, threads: int = 2) -> Generator[tuple[InputContainer, VideoStream]]:
    """Open a clip and its video stream.

    Raises:
        UnreadableError: The container is not supported, or has no video.
    """
    if path.is_file() and not path.stat().st_size:
        raise UnreadableError("corrupt-clip", "the file is empty")
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(str(path), options=options)
    except (FFmpegError, ValueError) as error:
        raise UnreadableError("corrupt-clip", "cannot be opened") from error
    with container:
        streams = [s for s in container.streams.video if not _is_cover(s)]
        if not streams:
            raise UnreadableError("no-picture")
        stream = streams[0]
        if stream.codec_context is None:  # pyright: ignore[reportUnnecessaryComparison] - PyAV's stub is wrong
            raise UnreadableError("corrupt-clip", "its codec is unknown")
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        yield container, stream


def timed_frames(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the frames in order with their times in microseconds, starting at 0.

    Raises:
        UnreadableError: A frame cannot be decoded.
    """
    rate = stream.average_rate or stream.guessed_rate or Fraction(16)
    first: int | None = None
    before = -1
    try:
        for index, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise UnreadableError("corrupt-clip", f"frame {index + 1} is damaged")
            if frame.pts is None or frame.time_base is None:
                time_us = before + round(1_000_000 / rate) if index else 0
            else:
                time_us = round(frame.pts * frame.time_base * 1_000_000)
            first = time_us if first is None else first
            time_us -= first
            if time_us > before:  # a second frame with the same time is never shown
                before = time_us
                yield time_us, frame
    except FFmpegError as error:
        where = f"breaks off after {max(0, before) / 1e6:.1f} s"
        raise UnreadableError("corrupt-clip", where) from error


def shape_of(frame: VideoFrame, stream: VideoStream) -> FrameShape:
    """Return the displayed shape of a clip with this first frame."""
    width, height = frame.width, frame.height
    ratio = stream.sample_aspect_ratio or Fraction(1)
    is_mirrored = _is_mirrored(frame)
    # PyAV derives the angle from a matrix that may mirror too; this is what remains without it.
    rotation = (round(frame.rotation / 90) * 90 + 180 * is_mirrored) % 360
    if ratio != 1:
        width = 2 * round(width * ratio / 2)
    if rotation in (90, 270):
        width, height = height, width
    return FrameShape(width, height, rotation, ratio == 1, is_mirrored)


def promised_frames(stream: VideoStream) -> int:
    """Return the number of displayed frames by the container; 0 if unknown."""
    # A clip cut without re-encoding keeps frames before the cut, decoded but not displayed.
    hidden = sum(entry.is_discard for entry in stream.index_entries)
    return max(0, stream.frames - hidden)


def _is_mirrored(frame: VideoFrame) -> bool:
    found = cast(Iterable[SideData], frame.side_data)  # PyAV's stub names the item's type
    matrix = next((item for item in found if item.type == SideDataType.DISPLAYMATRIX), None)
    if matrix is None:
        return False
    a, b, _, c, d, *_ = struct.unpack("<9i", bytes(matrix))
    return a * d < b * c


def has_extension(container: InputContainer, extension: str) -> bool:
    """Whether this extension, in lower case, matches the container."""
    family = container.format.name.split(",")[0]
    return extension in EXTENSIONS[family]


def _is_cover(stream: VideoStream) -> bool:
    return Disposition.attached_pic in stream.disposition
