"""Decoding one untrusted clip: its true timing, its form, and what repair will change."""

from collections.abc import Iterator
from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from training.dataset.clip_notes import form_notes, timing_notes
from training.dataset.clip_tape import Tape
from training.dataset.decoding.clip_reader import open_clip, promised_frames, timed_frames
from training.dataset.facts import MediaFacts, UnreadableError
from training.dataset.frame_rate import at_16fps, frames_at_16fps, is_16fps, length_us, longest_4n1
from training.dataset.image_head import HDR_TRANSFERS
from training.dataset.limits import Limits

BT709, LIMITED_RANGE = 1, 1  # as PyAV gives the tags; numbers of ITU-T H.273
SMALLEST_SIDE = 64  # pixels


def probe_clip(path: Path, extension: str, limits: Limits, threads: int = 2) -> MediaFacts:
    """Decode a clip completely and describe it.

    Args:
        path: The unpacked file.
        extension: Of its name in the zip, in lower case.
        limits: Bound its length and its frames.
        threads: Of the decoder.

    Raises:
        UnreadableError: It is not a clip that can be used.
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
        _refuse_hdr(frame.color_trc)  # the pictures may know better than their container
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
