"""Requests to the decoding process and its replies, one JSON line each."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from training.dataset.decoding.thumbnail import Thumbnail
from training.dataset.report import Kind, MediaFacts


class Probe(BaseModel):
    """Decode this file and describe it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["probe"] = "probe"
    kind: Kind
    path: str
    extension: str
    threads: int


class Convert(BaseModel):
    """Convert this file for the trainer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["convert"] = "convert"
    kind: Kind
    path: str
    target: str
    frames: int | None
    is_copied: bool


class Shrink(BaseModel):
    """Make a thumbnail of this file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["shrink"] = "shrink"
    kind: Kind
    path: str


class DecoderReply(BaseModel):
    """The reply to any request; `facts` to a probe, `thumbnail` to a shrink.

    Attributes:
        failure: Why the request failed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    facts: MediaFacts | None = None
    thumbnail: Thumbnail | None = None
    failure: str | None = None


DecoderRequest = Probe | Convert | Shrink
REQUEST: TypeAdapter[DecoderRequest] = TypeAdapter(
    Annotated[DecoderRequest, Field(discriminator="action")]
)
