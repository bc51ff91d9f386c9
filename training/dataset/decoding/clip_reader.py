"""Opens an untrusted clip and yields its frames with their times."""

import struct
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
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

# Playlists and image sequences are left out, because they can refer to other files and URLs.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,mpegvideo"
_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
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

RESTART_US = 100_000  # time stamps that go back by less than this are jitter, not a restart
GAP_US = 10_000_000  # ffmpeg also treats longer gaps in a recording as a jump of its clock
# A gap must be more than this many times as long as every step before it, because a clip with few
# pictures per second has long steps throughout.
LONGER_THAN_OTHERS = 10


@dataclass(frozen=True, slots=True)
class FrameShape:
    """The size at which players show a clip: upright, with square pixels.

    The width and the height may be odd numbers.

    Attributes:
        rotation: Anticlockwise rotation in degrees.
        is_square_pixels: Whether the stored pixels are square.
        is_mirrored: Whether the frame is flipped horizontally before it is rotated.
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
    """Open a clip; yield its container and its main video stream.

    Raises:
        UnreadableError: The file cannot be opened, or has no video.
    """
    if path.is_file() and not path.stat().st_size:
        raise UnreadableError("corrupt-clip", "the file is empty")
    try:
        container = av.open(str(path), options=_OPTIONS)
    except (FFmpegError, ValueError) as error:
        raise UnreadableError("corrupt-clip", "cannot be opened") from error
    with container:
        stream = main_stream(container, path)
        if stream is None:
            raise UnreadableError("no-picture")
        if stream.codec_context is None:  # pyright: ignore[reportUnnecessaryComparison] - PyAV's stub is wrong
            raise UnreadableError("corrupt-clip", "its codec is unknown")
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        yield container, stream


def main_stream(container: InputContainer, path: Path) -> VideoStream | None:
    """Return the largest video stream; of equally large ones, the default one or else the first.

    A stream with a single picture is returned only if there is no other stream.
    """
    streams = [stream for stream in container.streams.video if not is_cover(stream)]
    moving = {stream.index for stream in streams}
    if len(streams) > 1:
        moving = {stream.index for stream in streams if _moves(path, stream.index)}

    def rank(stream: VideoStream) -> tuple[bool, int, bool]:
        width, height = stream_size(stream)
        is_default = Disposition.default in stream.disposition
        return stream.index in moving, width * height, is_default

    return max(streams, key=rank, default=None)


def _moves(path: Path, index: int) -> bool:
    """Whether a stream has more than one picture."""
    with av.open(str(path), options=_OPTIONS) as container:
        pictures = (packet for packet in container.demux(container.streams[index]) if packet.size)
        try:
            return len([*islice(pictures, 2)]) > 1
        except FFmpegError:
            return True  # the damage is reported when the stream is decoded


def stream_size(stream: VideoStream) -> tuple[int, int]:
    """Return the stored width and height; (0, 0) if the codec is unknown."""
    if stream.codec_context is None:  # pyright: ignore[reportUnnecessaryComparison] - PyAV's stub is wrong
        return 0, 0
    return stream.width, stream.height


class Clock:
    """Assigns ascending times to frames, in microseconds from 0, even if the stored times jump.

    The stored times jump back in recordings that were joined without re-encoding, because each part
    begins at 0. They jump ahead where a recorder stopped for a while or set its clock.

    Attributes:
        restarts: The times, in microseconds, of the frames at which the stored times went back.
        gaps: The times of the frames before which the stored times went far ahead, with the length
            of each gap, all in microseconds. `time_us` closes these gaps.
    """

    def __init__(self, stream: VideoStream) -> None:
        average = stream.average_rate or stream.guessed_rate or Fraction(16)
        self._average_us = round(1_000_000 / average)
        # A jump makes the average rate too low, but does not affect the base rate.
        self._usual_us = round(1_000_000 / (stream.base_rate or average))
        self._steps: list[int] = []
        self._zero: int | None = None
        self._before = -1
        self.restarts: list[int] = []
        self.gaps: list[tuple[int, int]] = []

    def time_us(self, frame: VideoFrame) -> int | None:
        """Return the frame's time; None if it is not later than the previous frame's.

        Players skip such frames.
        """
        if frame.pts is None or frame.time_base is None:
            self._before = 0 if self._before < 0 else self._before + self._average_us
            return self._before
        stored = round(frame.pts * frame.time_base * 1_000_000)
        if self._zero is None:
            self._zero = stored
        time_us = self._without_jump(stored)
        if time_us <= self._before:
            return None
        if self._before >= 0:
            self._steps.append(time_us - self._before)
        self._before = time_us
        return time_us

    def _without_jump(self, stored: int) -> int:
        """Return the time since the first frame, as if the stored times had not jumped."""
        assert self._zero is not None
        time_us = stored - self._zero
        step = time_us - self._before
        if -RESTART_US <= step <= GAP_US:
            return time_us
        usual = sorted(self._steps)[len(self._steps) // 2] if self._steps else self._usual_us
        next_us = self._before + usual
        if step < -2 * usual:
            self.restarts.append(next_us)
        elif step > LONGER_THAN_OTHERS * max(self._steps, default=self._average_us):
            self.gaps.append((next_us, step))
        else:
            return time_us
        self._zero = stored - next_us
        return next_us


def timed_frames(
    container: InputContainer, stream: VideoStream, clock: Clock | None = None
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the frames that players show, in order, with their times in microseconds from 0.

    Raises:
        UnreadableError: A frame cannot be decoded, or differs in size or format from the first.
    """
    clock = clock or Clock(stream)
    last = 0
    first: tuple[int, int, str] | None = None
    try:
        for index, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise UnreadableError("corrupt-clip", f"frame {index + 1} is damaged")
            time_us = clock.time_us(frame)
            if time_us is None:
                continue
            form = frame.width, frame.height, frame.format.name
            first = first or form
            if form != first:
                raise UnreadableError("changes-size", _change(first, form, time_us))
            last = time_us
            yield time_us, frame
    except FFmpegError as error:
        where = f"breaks off after {last / 1e6:.1f} s"
        raise UnreadableError("corrupt-clip", where) from error


def _change(first: tuple[int, int, str], then: tuple[int, int, str], time_us: int) -> str:
    is_size = first[:2] != then[:2]
    before, after = (
        (f"{size[0]} x {size[1]}" for size in (first, then)) if is_size else (first[2], then[2])
    )
    return f"from {before} to {after} at {time_us / 1e6:.1f} s"


def shape_of(frame: VideoFrame, stream: VideoStream) -> FrameShape:
    """Return the displayed shape of a clip, given its first frame."""
    width, height = frame.width, frame.height
    ratio = stream.sample_aspect_ratio or Fraction(1)
    is_mirrored = _is_mirrored(frame)
    # The matrix from which PyAV takes the angle may also mirror the frame. Then the angle is off
    # by 180 degrees.
    rotation = (round(frame.rotation / 90) * 90 + 180 * is_mirrored) % 360
    if ratio != 1:
        width = 2 * round(width * ratio / 2)
    if rotation in (90, 270):
        width, height = height, width
    return FrameShape(width, height, rotation, ratio == 1, is_mirrored)


def promised_frames(stream: VideoStream) -> int:
    """Return how many frames players show, according to the container; 0 if it does not say.

    Call this before decoding, because decoding adds frames to the index. Without an index, as in an
    AVI that is cut off, the number in the header is used. That number may be too high, because it
    also counts empty packets, which only repeat the previous frame.
    """
    # A clip that was cut without re-encoding keeps some frames from before the cut. Players decode
    # these but do not show them, so they are marked as discarded.
    stored = sum(not entry.is_discard for entry in stream.index_entries if entry.size)
    return stored or (0 if len(stream.index_entries) else stream.frames)


def _is_mirrored(frame: VideoFrame) -> bool:
    found = cast(Iterable[SideData], frame.side_data)  # PyAV's type stub declares a single item
    matrix = next((item for item in found if item.type == SideDataType.DISPLAYMATRIX), None)
    if matrix is None:
        return False
    a, b, _, c, d, *_ = struct.unpack("<9i", bytes(matrix))
    return a * d < b * c


def has_extension(container: InputContainer, extension: str) -> bool:
    """Whether an extension in lower case, such as ".mp4", fits the container."""
    family = container.format.name.split(",")[0]
    return extension in EXTENSIONS[family]


def is_cover(stream: VideoStream) -> bool:
    """Whether a stream is not a video but a cover image or thumbnails."""
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    return bool(covers & stream.disposition)
