"""Makes thumbnails from untrusted files; runs only in a decoding process."""

from pathlib import Path

from PIL import Image, ImageOps

from training.dataset.decoding.clip_alpha import Flattener, has_alpha
from training.dataset.decoding.clip_reader import open_clip, shape_of
from training.dataset.decoding.colours import SRGB, Converter, colours_of, tags_of
from training.dataset.decoding.image import open_image, upright_rgb
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


def _image(path: Path, limits: Limits) -> Image.Image:
    rgb, _ = upright_rgb(open_image(path, limits))
    return rgb


def _frame(path: Path) -> Image.Image:
    with open_clip(path) as (container, stream):
        tags = tags_of(stream.codec_context)
        # Decode a single key frame. Decoding all frames up to the middle would take half as long as
        # a whole inspection.
        stream.codec_context.skip_frame = "NONKEY"
        if container.duration:
            container.seek((container.start_time or 0) + container.duration // 2)
        frame = next(container.decode(stream), None)
        if frame is None:
            raise UnreadableError("corrupt-clip", "no frame can be decoded")
        shape = shape_of(frame, stream)
        colours = colours_of(frame, tags)
        if has_alpha(frame):
            frame, colours = Flattener(colours).flatten(frame)[0], SRGB
        is_turned = shape.rotation in (90, 270)
        width, height = (shape.height, shape.width) if is_turned else (shape.width, shape.height)
        scale = min(1.0, 2 * BOX[0] / max(width, height))
        size = max(2, round(width * scale)), max(2, round(height * scale))
        small = Converter(colours.rgb_filters(size=size)).convert(frame)
        image = Image.fromarray(small.to_ndarray())
        if shape.is_mirrored:
            image = ImageOps.mirror(image)
        return image.rotate(shape.rotation, expand=True) if shape.rotation else image
