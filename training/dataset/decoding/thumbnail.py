"""The thumbnail of a sample, and the choice of samples that get one."""

from typing import Annotated

from PIL import Image
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, model_validator

BOX = (320, 180)  # largest width and height in pixels
MOST_THUMBNAILS = 24


class Thumbnail(BaseModel):
    """A thumbnail as plain pixels, so that showing it does not decode untrusted data.

    Attributes:
        rgb: Three bytes per pixel, row by row.
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
        """Return the thumbnail as a Pillow image."""
        return Image.frombytes("RGB", (self.width, self.height), self.rgb)


def spread(count: int, most: int = MOST_THUMBNAILS) -> frozenset[int]:
    """Return up to `most` indices below `count`, evenly spread, including the first and last."""
    if count <= most:
        return frozenset(range(count))
    return frozenset(round(index * (count - 1) / (most - 1)) for index in range(most))
