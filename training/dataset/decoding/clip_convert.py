"""Converts a clip for the trainer: 16 fps, upright, BT.709 H.264, no sound."""

import shutil
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from training.dataset.config.frame_windows import FPS
from training.dataset.decoding.clip_alpha import flattened, has_alpha
from training.dataset.decoding.clip_reader import FrameShape, open_clip, shape_of, timed_frames
from training.dataset.decoding.frame_rate import at_16fps

BT709, LIMITED_RANGE, FULL_RANGE = 1, 1, 2  # numbers of ITU-T H.273, as PyAV has them
UNTAGGED_HD_HEIGHT = 720  # players treat untagged clips of at least this height as BT.709
# A fixed number: x264's output depends on it, and the same zip must give the same bytes.
ENCODER_OPTIONS = {"crf": "18", "preset": "medium", "threads": "2"}
MUXER_OPTIONS = {
    "fflags": "+bitexact",
    "movflags": "+faststart",
    "movie_timescale": "16000",
    "video_track_timescale": "16000",
}
TURNS = {90: "transpose=cclock", 180: "hflip,vflip", 270: "transpose=clock"}
MATRICES = {1: "bt709", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}


def convert_clip(source: Path, target: Path, *, frames: int, is_copied: bool) -> None:
    """Write `frames` frames of `source` at 16 fps to `target`.

    Args:
        source: The unpacked file.
        target: Where the repaired clip goes.
        frames: Number of frames to write, a 4N+1 from the probe.
        is_copied: Whether the probe found nothing to change.
    """
    if is_copied:
        shutil.copyfile(source, target)
        return
    with (
        open_clip(source) as (container, stream),
        av.open(str(target), "w", format="mp4", container_options=MUXER_OPTIONS) as output,
    ):
        timed = _deinterlaced(timed_frames(container, stream), stream)
        wanted = at_16fps(timed, frames)
        _encode(output, _upright(wanted, stream))


def _encode(output: OutputContainer, pictures: Iterator[VideoFrame]) -> None:
    stream: VideoStream | None = None
    for index, picture in enumerate(pictures):
        if stream is None:
            stream = output.add_stream("libx264", rate=FPS, options=ENCODER_OPTIONS)
            stream.width, stream.height = picture.width, picture.height
            _tag(stream)
        picture.pts, picture.time_base = index, Fraction(1, FPS)
        picture.pict_type = 0  # the encoder's own choice, not the source's key frames
        output.mux(stream.encode(picture))
    if stream is not None:
        output.mux(stream.encode(None))


def _tag(stream: VideoStream) -> None:
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = Fraction(1, FPS)
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = LIMITED_RANGE


def _deinterlaced(
    timed: Iterator[tuple[int, VideoFrame]], stream: VideoStream
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield every frame whole; the filter gives one for each, but needs the next to do so."""
    graph: Graph | None = None
    times: deque[int] = deque()
    for time_us, frame in timed:
        if graph is None and not frame.interlaced_frame:
            yield time_us, frame
            continue
        graph = graph or _linked([("yadif", None)], stream)
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


def _upright(frames: Iterator[VideoFrame], stream: VideoStream) -> Iterator[VideoFrame]:
    """Yield each frame as shown, in BT.709; a repeated frame is converted once."""
    graph: Graph | None = None
    before: VideoFrame | None = None
    picture: VideoFrame | None = None
    for frame in frames:
        if graph is None:
            graph = _filters(frame, stream, shape_of(frame, stream))
        if frame is not before or picture is None:
            graph.push(frame)
            pulled = graph.pull()
            assert isinstance(pulled, VideoFrame)
            before, picture = frame, flattened(pulled)[0] if has_alpha(pulled) else pulled
        yield picture


def _filters(first: VideoFrame, stream: VideoStream, shape: FrameShape) -> Graph:
    width, height = shape.even
    steps: list[str] = []
    if not shape.is_square_pixels:
        turned = shape.rotation in (90, 270)
        shown = (shape.height, shape.width) if turned else (shape.width, shape.height)
        steps.append(f"scale={shown[0]}:{shown[1]}:flags=lanczos,setsar=1")
    if shape.is_mirrored:
        steps.append("hflip")
    if shape.rotation:
        steps.append(TURNS[shape.rotation])
    # A transparent one becomes yuv420p only once it lies on white.
    wanted = "rgba" if has_alpha(first) else "yuv420p"
    steps += [f"crop={width}:{height}:0:0", _to_bt709(first), f"format={wanted}"]
    parts = (step.partition("=") for step in ",".join(steps).split(","))
    return _linked([(name, arguments or None) for name, _, arguments in parts], stream)


def _linked(filters: list[tuple[str, str | None]], stream: VideoStream) -> Graph:
    graph = Graph()
    last = graph.add_buffer(template=stream)
    for name, arguments in filters:
        node = graph.add(name, arguments)
        last.link_to(node)
        last = node
    last.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _to_bt709(first: VideoFrame) -> str:
    guess = "bt709" if first.height >= UNTAGGED_HD_HEIGHT else "bt601"
    matrix = MATRICES.get(int(first.colorspace), guess)
    source_range = "full" if int(first.color_range) == FULL_RANGE else "limited"
    return (
        f"scale=in_color_matrix={matrix}:in_range={source_range}"
        ":out_color_matrix=bt709:out_range=limited:flags=bicubic+accurate_rnd"
    )
