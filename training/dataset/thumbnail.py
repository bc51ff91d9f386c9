"""Small pictures of samples, made in the decoding process for people to look at."""

from pathlib import Path
from typing import Annotated

from PIL import Image, ImageOps
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, model_validator

from training.dataset.clip_alpha import flattened, has_alpha
from training.dataset.clip_reader import open_clip, shape_of
from training.dataset.facts import UnreadableError
from training.dataset.image_probe import open_image, upright_rgb
from training.dataset.limits import Limits
from training.dataset.report import Kind

BOX = (320, 180)  # pixels: what a thumbnail fits into
MOST_THUMBNAILS = 24


class Thumbnail(BaseModel):
    """Plain pixels, so that whoever shows them decodes nothing of a stranger's.

    Attributes:
        rgb: Three bytes a pixel, row by row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Annotated[int, Field(ge=1, le=BOX[0])]
    height: Annotated[int, Field(ge=1, le=BOX[1])]
    rgb: Base64Bytes

    @model_validator(mode="after")
    def _is_complete(self) -> "Thumbnail":
        if len(self.rgb) != self.width * self.height * 3:
            raise ValueError("pixels are missing")
        return self

    def image(self) -> Image.Image:
        """Return the picture."""
        return Image.frombytes("RGB", (self.width, self.height), self.rgb)


def shrink(path: Path, kind: Kind, limits: Limits) -> Thumbnail:
    """Return an image, or a key frame near the middle of a clip, upright and small.

    Raises:
        UnreadableError: No picture can be decoded.
    """
    image = _image(path, limits) if kind == "image" else _frame(path)
    image.thumbnail(BOX, Image.Resampling.LANCZOS)
    return Thumbnail.model_construct(
        width=image.width, height=image.height, rgb=image.convert("RGB").tobytes()
    )


def spread(count: int, most: int = MOST_THUMBNAILS) -> frozenset[int]:
    """Return at most `most` of `count` places, evenly spread, the first and the last among them."""
    if count <= most:
        return frozenset(range(count))
    return frozenset(round(index * (count - 1) / (most - 1)) for index in range(most))


def _image(path: Path, limits: Limits) -> Image.Image:
    image, _ = open_image(path, limits)
    rgb, _ = upright_rgb(image)
    return rgb


def _frame(path: Path) -> Image.Image:
    with open_clip(path) as (container, stream):
        # Key frames alone: decoding up to the very middle would cost half of another inspection.
        stream.codec_context.skip_frame = "NONKEY"
        if container.duration:
            container.seek((container.start_time or 0) + container.duration // 2)
        frame = next(container.decode(stream), None)
        if frame is None:
            raise UnreadableError("corrupt-clip", "no frame can be decoded")
        shape = shape_of(frame, stream)
        if has_alpha(frame):
            frame, _ = flattened(frame)
        is_turned = shape.rotation in (90, 270)
        width, height = (shape.height, shape.width) if is_turned else (shape.width, shape.height)
        scale = min(1.0, 2 * BOX[0] / max(width, height))
        small = frame.reformat(
            width=max(2, round(width * scale)),
            height=max(2, round(height * scale)),
            format="rgb24",
        )
        image = Image.fromarray(small.to_ndarray())
        if shape.is_mirrored:
            image = ImageOps.mirror(image)
        return image.rotate(shape.rotation, expand=True) if shape.rotation else image
