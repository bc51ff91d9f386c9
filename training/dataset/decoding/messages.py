"""The requests to a decoding process and its replies; each is sent as one line of JSON."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from training.dataset.decoding.thumbnail import Thumbnail
from training.dataset.report import Kind, MediaFacts


class Probe(BaseModel):
    """A request to decode a file and describe it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["probe"] = "probe"
    kind: Kind
    path: str
    extension: str
    threads: int


class Convert(BaseModel):
    """A request to convert a file for the trainer and write the result to `target`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["convert"] = "convert"
    kind: Kind
    path: str
    target: str
    frames: int | None
    is_copied: bool
    is_interlaced: bool = False


class Shrink(BaseModel):
    """A request to make a thumbnail of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["shrink"] = "shrink"
    kind: Kind
    path: str


class PickFrames(BaseModel):
    """A request for an image, or for `count` frames of a clip, as RGB pixels in `target`.

    Attributes:
        seconds: Length of the clip; 0 for an image.
        longest_side: Largest width and height of the pictures, in pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["pick"] = "pick"
    kind: Kind
    path: str
    target: str
    seconds: Annotated[float, Field(ge=0)] = 0.0
    count: Annotated[int, Field(ge=1)] = 1
    longest_side: Annotated[int, Field(ge=16)]


class PickedFrames(BaseModel):
    """The size and the number of the pictures in the target of `PickFrames`.

    The file has three bytes per pixel, row by row, picture by picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]
    count: Annotated[int, Field(ge=1)]


class DecoderReply(BaseModel):
    """The reply to any request.

    Attributes:
        facts: The result of `Probe`.
        thumbnail: The result of `Shrink`.
        frames: The result of `PickFrames`.
        failure: Why the request failed; None if it succeeded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    facts: MediaFacts | None = None
    thumbnail: Thumbnail | None = None
    frames: PickedFrames | None = None
    failure: str | None = None


DecoderRequest = Probe | Convert | Shrink | PickFrames
REQUEST: TypeAdapter[DecoderRequest] = TypeAdapter(
    Annotated[DecoderRequest, Field(discriminator="action")]
)
