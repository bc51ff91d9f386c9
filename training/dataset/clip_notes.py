"""What is to be said about a clip's form and timing, and what repair will change of it."""

from collections.abc import Iterator

from av.container import InputContainer
from av.video.stream import VideoStream

from training.dataset.clip_tape import Tape
from training.dataset.decoding.clip_alpha import OPAQUE, drops_alpha
from training.dataset.decoding.clip_reader import Shape, has_extension
from training.dataset.facts import Note
from training.dataset.frame_rate import FPS, frames_at_16fps, is_variable, longest_4n1
from training.dataset.zip.members import CONVERTED_CLIPS

FPS_TOLERANCE = 0.05
FEWEST_MOVING_FRAMES = 21  # the shortest target of the guide that shows movement


def form_notes(
    container: InputContainer, stream: VideoStream, extension: str, tape: Tape
) -> Iterator[Note]:
    """Yield what is to be said about the file and how its pictures are stored."""
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


def _shape_notes(shape: Shape, stream: VideoStream) -> Iterator[Note]:
    if shape.rotation or shape.is_mirrored:
        turned = f"{shape.rotation} degrees" if shape.rotation else ""
        mirrored = "mirrored" if shape.is_mirrored else ""
        yield Note(code="rotated", detail=", ".join(filter(None, (mirrored, turned))))
    if not shape.is_square_pixels:
        yield Note(code="non-square-pixels", detail=f"{stream.width} x {stream.height} stored")
    if shape.even != (shape.width, shape.height):
        yield Note(code="odd-size", detail=f"{shape.width} x {shape.height}")


def timing_notes(tape: Tape, length: int) -> Iterator[Note]:
    """Yield what is to be said about the frame rate and the length."""
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
