"""Decodes an untrusted clip: its real timing, its format, and what repair will change."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from training.dataset.config.frame_windows import FPS, longest_4n1
from training.dataset.decoding.clip_alpha import OPAQUE, drops_alpha, flattened, has_alpha
from training.dataset.decoding.clip_looks import ClipWatch
from training.dataset.decoding.clip_reader import (
    FrameShape,
    has_extension,
    open_clip,
    promised_frames,
    shape_of,
    timed_frames,
)
from training.dataset.decoding.frame_rate import (
    at_16fps,
    frames_at_16fps,
    is_16fps,
    is_variable,
    length_us,
)
from training.dataset.decoding.image import HDR_TRANSFERS
from training.dataset.decoding.image_looks import Look
from training.dataset.limits import Limits
from training.dataset.report import MediaFacts, Note, UnreadableError
from training.dataset.zip.members import CONVERTED_CLIPS

FPS_TOLERANCE = 0.05
FEWEST_MOVING_FRAMES = 21  # the shortest target of the guide that shows movement


@dataclass(slots=True)
class Tape:
    """What is recorded of a clip while it is decoded."""

    watch: ClipWatch = field(default_factory=ClipWatch)
    times_us: list[int] = field(default_factory=list[int])
    shape: FrameShape | None = None
    bits: int = 8
    is_interlaced: bool = False
    opacity: int | None = None  # the lowest, 0 to 255; None without an alpha channel
    last: VideoFrame | None = None
    flat: tuple[VideoFrame, VideoFrame] | None = None  # a frame, and the same on white

    def add(self, time_us: int, frame: VideoFrame, stream: VideoStream) -> None:
        """Record one frame."""
        if self.shape is None:
            self.shape = shape_of(frame, stream)
            self.bits = max(part.bits for part in frame.format.components)
        self.times_us.append(time_us)
        self.is_interlaced = self.is_interlaced or frame.interlaced_frame
        self.last = frame

    def see(self, frame: VideoFrame) -> None:
        """Look at a frame that training will see."""
        self.watch.see(self._plain(frame))

    def look(self, count: int) -> Look:
        """Return how the first `count` of these frames look."""
        assert self.last is not None
        return self.watch.look(count, self._plain(self.last))

    def _plain(self, frame: VideoFrame) -> VideoFrame:
        """Return a frame as repair writes it: transparent ones on white."""
        if not has_alpha(frame):
            return frame
        if self.flat is None or self.flat[0] is not frame:
            plain, opacity = flattened(frame)
            self.flat = frame, plain
            self.opacity = min(opacity, OPAQUE if self.opacity is None else self.opacity)
        return self.flat[1]


BT709, LIMITED_RANGE = 1, 1  # as PyAV gives the tags; numbers of ITU-T H.273
SMALLEST_SIDE = 64  # pixels


def form_notes(
    container: InputContainer, stream: VideoStream, extension: str, tape: Tape
) -> Iterator[Note]:
    """Yield notes about the file and how its pictures are stored."""
    if not has_extension(container, extension):
        yield Note(code="wrong-extension", detail=f"is {container.format.long_name}")
    if extension in CONVERTED_CLIPS:
        yield Note(code="converted-type", detail=extension)
    assert tape.shape is not None
    yield from _shape_notes(tape.shape, stream)
    if tape.bits > 8:
        yield Note(code="deep-colour", detail=f"{tape.bits} bit")
    if tape.opacity is not None:
        yield Note(code="opaque-alpha" if tape.opacity == OPAQUE else "alpha-channel")
    elif drops_alpha(stream):
        yield Note(code="dropped-alpha")
    if tape.is_interlaced:
        yield Note(code="interlaced")
    if container.streams.audio:
        yield Note(code="audio-dropped")


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
    """Yield notes about frame rate and length."""
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
        extension: Extension in the zip, in lower case.
        limits: Bounds on its length and frames.
        threads: Threads of the decoder.

    Raises:
        UnreadableError: The clip is unusable.
    """
    with open_clip(path, threads) as (container, stream):
        _refuse_hdr(stream.codec_context.color_trc)
        if stream.width * stream.height > limits.clip_pixels:
            raise UnreadableError("clip-too-large", f"{stream.width} x {stream.height}")
        tape = _play(container, stream, limits)
        promised = promised_frames(stream)
        if len(tape.times_us) < promised * 0.9:
            kept = f"only {len(tape.times_us)} of {promised} frames are there"
            raise UnreadableError("corrupt-clip", kept)
        return _describe(container, stream, extension, tape)


def _play(container: InputContainer, stream: VideoStream, limits: Limits) -> Tape:
    tape = Tape()
    for frame in at_16fps(_recorded(tape, container, stream, limits)):
        tape.see(frame)
    return tape


def _recorded(
    tape: Tape, container: InputContainer, stream: VideoStream, limits: Limits
) -> Iterator[tuple[int, VideoFrame]]:
    for time_us, frame in timed_frames(container, stream):
        if time_us > limits.clip_seconds * 1_000_000:
            raise UnreadableError("clip-too-long", f"over {limits.clip_seconds} s")
        if len(tape.times_us) == limits.clip_frames:
            raise UnreadableError("clip-too-long", f"over {limits.clip_frames} frames")
        _refuse_hdr(frame.color_trc)  # the container may be wrong about it
        tape.add(time_us, frame, stream)
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
        and context.colorspace == BT709
        and context.color_range == LIMITED_RANGE
        and len(container.streams) == 1
    )


def _duration_us(frame: VideoFrame) -> int | None:
    if not frame.duration or frame.time_base is None:
        return None
    return round(frame.duration * frame.time_base * 1_000_000)
