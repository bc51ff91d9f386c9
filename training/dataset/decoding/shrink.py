"""Makes small pictures of untrusted files; runs only in a decoding process."""

from pathlib import Path

from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageOps

from training.dataset.decoding.clip_alpha import Flattener, has_alpha
from training.dataset.decoding.clip_reader import open_clip, shape_of, timed_frames
from training.dataset.decoding.colours import SRGB, Converter, colours_of, tags_of
from training.dataset.decoding.image import open_image, upright_rgb
from training.dataset.decoding.messages import PickedFrames, PickFrames
from training.dataset.decoding.thumbnail import BOX, Thumbnail
from training.dataset.limits import Limits
from training.dataset.report import Kind, UnreadableError


def shrink(path: Path, kind: Kind, limits: Limits) -> Thumbnail:
    """Return a thumbnail of an image, or of a key frame near the middle of a clip.

    Raises:
        UnreadableError: The image, or a frame of the clip, cannot be decoded.
    """
    image = _image(path, limits) if kind == "image" else _frame(path)
    image.thumbnail(BOX, Image.Resampling.LANCZOS)
    return Thumbnail.model_construct(
        width=image.width, height=image.height, rgb=image.convert("RGB").tobytes()
    )


def pick_frames(request: PickFrames, limits: Limits) -> PickedFrames:
    """Write frames of a clip, evenly spread, or an image to `request.target` as RGB pixels.

    Raises:
        UnreadableError: The image, or a frame of the clip, cannot be decoded.
    """
    path, side = Path(request.path), request.longest_side
    is_image = request.kind == "image"
    pictures = [_image(path, limits)] if is_image else _spread_frames(path, request)
    for picture in pictures:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    Path(request.target).write_bytes(b"".join(one.convert("RGB").tobytes() for one in pictures))
    return PickedFrames(width=pictures[0].width, height=pictures[0].height, count=len(pictures))


def _spread_frames(path: Path, request: PickFrames) -> list[Image.Image]:
    """Return the frames in the middles of `request.count` equally long parts of the clip."""
    part_us = request.seconds * 1_000_000 / request.count
    pictures: list[Image.Image] = []
    last: VideoFrame | None = None
    with open_clip(path) as (container, stream):
        for time_us, frame in timed_frames(container, stream):
            last = frame
            if time_us >= (len(pictures) + 0.5) * part_us:
                pictures.append(_small(frame, stream, request.longest_side))
            if len(pictures) == request.count:
                break
        if not pictures and last is not None:
            pictures.append(_small(last, stream, request.longest_side))
    if not pictures:
        raise UnreadableError("corrupt-clip", "no frame can be decoded")
    return pictures


def _image(path: Path, limits: Limits) -> Image.Image:
    rgb, _ = upright_rgb(open_image(path, limits))
    return rgb


def _frame(path: Path) -> Image.Image:
    with open_clip(path) as (container, stream):
        # Decode a single key frame. Decoding all frames up to the middle would take half as long as
        # a whole inspection.
        stream.codec_context.skip_frame = "NONKEY"
        if container.duration:
            container.seek((container.start_time or 0) + container.duration // 2)
        frame = next(container.decode(stream), None)
        if frame is None:
            raise UnreadableError("corrupt-clip", "no frame can be decoded")
        return _small(frame, stream, BOX[0])


def _small(frame: VideoFrame, stream: VideoStream, side: int) -> Image.Image:
    """Return a frame as players show it, twice as large as `side` at most."""
    shape = shape_of(frame, stream)
    colours = colours_of(frame, tags_of(stream.codec_context))
    if has_alpha(frame):
        frame, colours = Flattener(colours).flatten(frame)[0], SRGB
    is_turned = shape.rotation in (90, 270)
    width, height = (shape.height, shape.width) if is_turned else (shape.width, shape.height)
    scale = min(1.0, 2 * side / max(width, height))
    size = max(2, round(width * scale)), max(2, round(height * scale))
    small = Converter(colours.rgb_filters(size=size)).convert(frame)
    image = Image.fromarray(small.to_ndarray())
    if shape.is_mirrored:
        image = ImageOps.mirror(image)
    return image.rotate(shape.rotation, expand=True) if shape.rotation else image
