"""Decodes an untrusted clip and reports its length, its flaws, and the repairs that it needs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from training.dataset.config.frame_windows import FPS, longest_4n1
from training.dataset.decoding.clip_alpha import OPAQUE, Flattener, drops_alpha, has_alpha
from training.dataset.decoding.clip_looks import ClipWatch
from training.dataset.decoding.clip_reader import (
    Clock,
    FrameShape,
    has_extension,
    is_cover,
    open_clip,
    promised_frames,
    shape_of,
    stream_size,
    timed_frames,
)
from training.dataset.decoding.colours import (
    BT601,
    BT709,
    LIMITED_RANGE,
    SRGB,
    ClipColours,
    StrangeColoursError,
    Tags,
    colours_of,
    tags_of,
)
from training.dataset.decoding.fields import FieldWatch
from training.dataset.decoding.frame_rate import (
    at_16fps,
    frames_at_16fps,
    is_16fps,
    is_variable,
    length_us,
)
from training.dataset.decoding.image_colours import HDR_TRANSFERS
from training.dataset.decoding.image_looks import Look
from training.dataset.limits import Limits
from training.dataset.media_types import CONVERTED_CLIPS
from training.dataset.report import MediaFacts, Note, UnreadableError
from training.wording import listed

FPS_TOLERANCE = 0.05
FEWEST_MOVING_FRAMES = 21  # the length of the shortest moving items in the training guide


@dataclass(slots=True)
class Tape:
    """The facts about a clip, collected frame by frame while it is decoded."""

    clock: Clock
    tags: Tags
    watch: ClipWatch = field(default_factory=ClipWatch)
    times_us: list[int] = field(default_factory=list[int])
    shape: FrameShape | None = None
    bits: int = 8
    colours: ClipColours = SRGB
    fields: FieldWatch = field(default_factory=FieldWatch)
    opacity: int | None = None  # the lowest opacity of any pixel, 0 to 255; None without alpha
    flattener: Flattener | None = None
    last: VideoFrame | None = None
    # The last frame with transparency: as decoded, and on a white background.
    flat: tuple[VideoFrame, VideoFrame] | None = None

    def add(self, time_us: int, frame: VideoFrame, stream: VideoStream) -> None:
        """Record a decoded frame."""
        if self.shape is None:
            self.shape = shape_of(frame, stream)
            self.bits = max(part.bits for part in frame.format.components)
            self.colours = colours_of(frame, self.tags)
        self.times_us.append(time_us)
        self.fields.see(frame)
        self.last = frame

    def see(self, frame: VideoFrame) -> None:
        """Look for visible flaws in a frame that training will see."""
        self.watch.see(self._plain(frame))

    def look(self, count: int) -> Look:
        """Return the hashes and visible flaws of the first `count` frames at 16 fps."""
        assert self.last is not None
        return self.watch.look(count, self._plain(self.last))

    def _plain(self, frame: VideoFrame) -> VideoFrame:
        """Return a frame as repair writes it: on a white background if it is transparent."""
        if not has_alpha(frame):
            return frame
        if self.flat is None or self.flat[0] is not frame:
            self.flattener = self.flattener or Flattener(self.colours)
            plain, opacity = self.flattener.flatten(frame)
            self.flat = frame, plain
            self.opacity = min(opacity, OPAQUE if self.opacity is None else self.opacity)
        return self.flat[1]


SMALLEST_SIDE = 64  # pixels


def form_notes(
    container: InputContainer, stream: VideoStream, extension: str, tape: Tape
) -> Iterator[Note]:
    """Yield notes about the file, its streams, and the shape and colours of its frames."""
    if not has_extension(container, extension):
        yield Note(code="wrong-extension", detail=f"is {container.format.long_name}")
    if extension in CONVERTED_CLIPS:
        yield Note(code="converted-type", detail=extension)
    assert tape.shape is not None
    yield from _shape_notes(tape.shape, stream)
    yield from _colour_notes(tape, stream)
    if tape.fields.are_mixed:
        yield Note(code="interlaced")
    yield from _stream_notes(container, stream)
    if tape.clock.restarts:
        times = [f"{time / 1e6:.1f} s" for time in tape.clock.restarts]
        yield Note(code="joined", detail=f"at {listed(times, 3)}")
    if tape.clock.gaps:
        gaps = [f"{gap / 1e6:.1f} s at {time / 1e6:.1f} s" for time, gap in tape.clock.gaps]
        yield Note(code="time-gap", detail=listed(gaps, 3))
    if container.streams.audio:
        yield Note(code="audio-dropped")


def _stream_notes(container: InputContainer, stream: VideoStream) -> Iterator[Note]:
    others = [other for other in container.streams.video if other is not stream]
    if any(not is_cover(other) for other in others) or stream is not container.streams.video[0]:
        sizes = listed(["{} x {}".format(*stream_size(other)) for other in others], 3)
        used = f"{stream.width} x {stream.height}"
        yield Note(code="several-streams", detail=f"{used} is used, not {sizes}")


def _colour_notes(tape: Tape, stream: VideoStream) -> Iterator[Note]:
    if tape.bits > 8:
        yield Note(code="deep-colour", detail=f"{tape.bits} bit")
    if tape.opacity is not None:
        yield Note(code="opaque-alpha" if tape.opacity == OPAQUE else "alpha-channel")
    elif drops_alpha(stream):
        yield Note(code="dropped-alpha")
    if tape.colours.primaries_name is not None:
        yield Note(code="wide-colours", detail=tape.colours.primaries_name)
    if tape.colours.is_guessed:
        name = "BT.709" if tape.colours.matrix == "bt709" else "BT.601"
        yield Note(code="untagged-colours", detail=f"read as {name}")


def _shape_notes(shape: FrameShape, stream: VideoStream) -> Iterator[Note]:
    if shape.rotation or shape.is_mirrored:
        turned = f"{shape.rotation} degrees" if shape.rotation else ""
        mirrored = "mirrored" if shape.is_mirrored else ""
        yield Note(code="rotated", detail=", ".join(filter(None, (mirrored, turned))))
    if not shape.is_square_pixels:
        yield Note(code="non-square-pixels", detail=f"{stream.width} x {stream.height} stored")
    if shape.even != (shape.width, shape.height):
        yield Note(code="odd-size", detail=f"{shape.width} x {shape.height}")


def timing_notes(tape: Tape, length: int) -> Iterator[Note]:
    """Yield notes about frame rate and number of frames, given the length in microseconds."""
    fps = len(tape.times_us) * 1_000_000 / length
    available = frames_at_16fps(length)
    if is_variable(tape.times_us):
        yield Note(code="variable-fps", detail=f"{fps:.4g} fps on average")
    elif abs(fps - FPS) > FPS_TOLERANCE:
        yield Note(code="low-fps" if fps < FPS else "fps-not-16", detail=f"{fps:.4g} fps")
    elif longest_4n1(available) != available:
        kept = f"{available} frames, {longest_4n1(available)} are kept"
        yield Note(code="frames-not-4n1", detail=kept)
    if longest_4n1(available) < FEWEST_MOVING_FRAMES:
        unit = "frame" if available == 1 else "frames"
        yield Note(code="clip-too-short", detail=f"{available} {unit} at 16 fps")


def probe_clip(path: Path, extension: str, limits: Limits, threads: int = 2) -> MediaFacts:
    """Decode a clip completely and describe it.

    Args:
        path: The unpacked file.
        extension: The file's extension in the zip, in lower case.
        limits: Limits on size, length and number of frames.
        threads: How many threads decode.

    Raises:
        UnreadableError: The clip cannot be decoded, or exceeds a limit.
    """
    with open_clip(path, threads) as (container, stream):
        _refuse_hdr(stream.codec_context.color_trc)
        if stream.width * stream.height > limits.clip_pixels:
            raise UnreadableError("clip-too-large", f"{stream.width} x {stream.height}")
        promised = promised_frames(stream)
        tape = _play(container, stream, limits)
        if len(tape.times_us) < promised * 0.9:
            kept = f"only {len(tape.times_us)} of {promised} frames can be decoded"
            raise UnreadableError("corrupt-clip", kept)
        return _describe(container, stream, extension, tape)


def _play(container: InputContainer, stream: VideoStream, limits: Limits) -> Tape:
    tape = Tape(clock=Clock(stream), tags=tags_of(stream.codec_context))
    for frame in at_16fps(_recorded(tape, container, stream, limits)):
        tape.see(frame)
    return tape


def _recorded(
    tape: Tape, container: InputContainer, stream: VideoStream, limits: Limits
) -> Iterator[tuple[int, VideoFrame]]:
    for time_us, frame in timed_frames(container, stream, tape.clock):
        if time_us > limits.clip_seconds * 1_000_000:
            raise UnreadableError("clip-too-long", f"over {limits.clip_seconds} s")
        if len(tape.times_us) == limits.clip_frames:
            raise UnreadableError("clip-too-long", f"over {limits.clip_frames} frames")
        _refuse_hdr(frame.color_trc)  # a frame may be tagged as HDR even if the container is not
        try:
            tape.add(time_us, frame, stream)
        except StrangeColoursError as error:
            raise UnreadableError("strange-colours", str(error)) from error
        yield time_us, frame


def _refuse_hdr(transfer: int) -> None:
    if name := HDR_TRANSFERS.get(transfer):
        raise UnreadableError("hdr", name)


def _describe(
    container: InputContainer, stream: VideoStream, extension: str, tape: Tape
) -> MediaFacts:
    if tape.shape is None or tape.last is None:
        raise UnreadableError("corrupt-clip", "no frame can be decoded")
    width, height = tape.shape.even
    if min(width, height) < SMALLEST_SIDE:
        raise UnreadableError("clip-too-small", f"{width} x {height}")
    length = length_us(tape.times_us, _duration_us(tape.last))
    frames = len(tape.times_us)
    wanted = longest_4n1(frames_at_16fps(length))
    look = tape.look(wanted)
    notes = [*form_notes(container, stream, extension, tape), *timing_notes(tape, length)]
    changed = [note for note in notes if note.code != "clip-too-short"]
    return MediaFacts(
        kind="video",
        extension=".mp4",
        width=width,
        height=height,
        frames=frames,
        fps=round(frames * 1_000_000 / length, 3),
        seconds=round(length / 1_000_000, 3),
        frames_16fps=wanted,
        is_interlaced=tape.fields.are_mixed,
        is_copied=not changed and is_16fps(tape.times_us) and _is_as_wanted(container, stream),
        prints=look.prints,
        notes=(*notes, *look.notes),
    )


def _is_as_wanted(container: InputContainer, stream: VideoStream) -> bool:
    context = stream.codec_context
    return (
        "mp4" in container.format.name
        and context.name == "h264"
        and context.pix_fmt == "yuv420p"
        and context.colorspace == BT601
        and context.color_primaries == BT709
        and context.color_range == LIMITED_RANGE
        and len(container.streams) == 1
    )


def _duration_us(frame: VideoFrame) -> int | None:
    if not frame.duration or frame.time_base is None:
        return None
    return round(frame.duration * frame.time_base * 1_000_000)
