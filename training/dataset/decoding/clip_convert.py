"""Converts a clip for the trainer: 16 fps, upright, sRGB colours in BT.601 H.264, no sound.

The colours are written as BT.601 and tagged as BT.601, because the trainer ignores the tag and
assumes BT.601.
"""

import shutil
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from training.dataset.config.frame_windows import FPS
from training.dataset.decoding.clip_alpha import Flattener, has_alpha
from training.dataset.decoding.clip_reader import FrameShape, open_clip, shape_of, timed_frames
from training.dataset.decoding.colours import (
    BT601,
    BT709,
    LIMITED_RANGE,
    SRGB,
    ClipColours,
    Converter,
    Filters,
    Tags,
    colours_of,
    linked,
    tags_of,
)
from training.dataset.decoding.frame_rate import at_16fps

# The number of threads is fixed, because x264's output depends on it, and the same zip must give
# the same bytes on every machine.
ENCODER_OPTIONS = {"crf": "18", "preset": "medium", "threads": "2"}
MUXER_OPTIONS = {
    "fflags": "+bitexact",
    "movflags": "+faststart",
    "movie_timescale": "16000",
    "video_track_timescale": "16000",
}
TURNS: dict[int, Filters] = {
    90: [("transpose", "cclock")],
    180: [("hflip", None), ("vflip", None)],
    270: [("transpose", "clock")],
}


def convert_clip(
    source: Path, target: Path, *, frames: int, is_copied: bool, is_interlaced: bool
) -> None:
    """Write `frames` frames of `source` at 16 fps to `target`.

    Args:
        source: The unpacked file.
        target: Path of the repaired clip.
        frames: Number of frames to write, as determined by the probe; 4N+1.
        is_copied: Whether to copy the file unchanged, because the probe found nothing to change.
        is_interlaced: Whether the probe found interlaced frames, which are then deinterlaced.
    """
    if is_copied:
        shutil.copyfile(source, target)
        return
    with (
        open_clip(source) as (container, stream),
        av.open(str(target), "w", format="mp4", container_options=MUXER_OPTIONS) as output,
    ):
        tags = tags_of(stream.codec_context)
        timed = timed_frames(container, stream)
        wanted = at_16fps(_deinterlaced(timed) if is_interlaced else timed, frames)
        _encode(output, _upright(wanted, stream, tags))


def _encode(output: OutputContainer, pictures: Iterator[VideoFrame]) -> None:
    stream: VideoStream | None = None
    for index, picture in enumerate(pictures):
        if stream is None:
            stream = output.add_stream("libx264", rate=FPS, options=ENCODER_OPTIONS)
            stream.width, stream.height = picture.width, picture.height
            _tag(stream)
        picture.pts, picture.time_base = index, Fraction(1, FPS)
        picture.pict_type = 0  # the encoder chooses the key frames, not the source
        output.mux(stream.encode(picture))
    if stream is not None:
        output.mux(stream.encode(None))


def _tag(stream: VideoStream) -> None:
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = Fraction(1, FPS)
    context.colorspace = BT601
    context.color_primaries = context.color_trc = BT709  # as in sRGB
    context.color_range = LIMITED_RANGE


def _deinterlaced(timed: Iterator[tuple[int, VideoFrame]]) -> Iterator[tuple[int, VideoFrame]]:
    """Yield all frames, deinterlacing them from the first one that is marked as interlaced.

    The filter outputs a frame only after it gets the next one, so the frames' times are queued.
    """
    graph: Graph | None = None
    times: deque[int] = deque()
    for time_us, frame in timed:
        if graph is None and not frame.interlaced_frame:
            yield time_us, frame
            continue
        graph = graph or linked([("yadif", None)], frame)
        times.append(time_us)
        graph.push(frame)
        yield from _pulled(graph, times)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph, times)


def _pulled(graph: Graph, times: deque[int]) -> Iterator[tuple[int, VideoFrame]]:
    while times:
        try:
            frame = graph.pull()
        except (BlockingIOError, EOFError):
            return
        assert isinstance(frame, VideoFrame)
        yield times.popleft(), frame


def _upright(frames: Iterator[VideoFrame], stream: VideoStream, tags: Tags) -> Iterator[VideoFrame]:
    """Yield each frame as players show it, in BT.601; a repeated frame is converted only once."""
    convert: Callable[[VideoFrame], VideoFrame] | None = None
    before: VideoFrame | None = None
    picture: VideoFrame | None = None
    for frame in frames:
        if convert is None:
            colours = colours_of(frame, tags)
            convert = _conversion(frame, colours, _shaping(shape_of(frame, stream)))
        if frame is not before or picture is None:
            before, picture = frame, convert(frame)
        yield picture


def _conversion(
    first: VideoFrame, colours: ClipColours, shaping: Filters
) -> Callable[[VideoFrame], VideoFrame]:
    if not has_alpha(first):
        return Converter([*shaping, *colours.bt601_filters()]).convert
    # Place frames on a white background before scaling. Otherwise the colours of transparent pixels
    # would bleed into the edges.
    flattener, converter = Flattener(colours), Converter([*shaping, *SRGB.bt601_filters()])
    return lambda frame: converter.convert(flattener.flatten(frame)[0])


def _shaping(shape: FrameShape) -> Filters:
    width, height = shape.even
    steps: Filters = []
    if not shape.is_square_pixels:
        turned = shape.rotation in (90, 270)
        shown = (shape.height, shape.width) if turned else (shape.width, shape.height)
        steps += [("scale", f"{shown[0]}:{shown[1]}:flags=lanczos"), ("setsar", "1")]
    if shape.is_mirrored:
        steps.append(("hflip", None))
    steps += TURNS.get(shape.rotation, [])
    return [*steps, ("crop", f"{width}:{height}:0:0")]
