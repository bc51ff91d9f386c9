"""What the decoding process is asked and what it answers, one JSON line each."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from training.dataset.decoding.thumbnail import Thumbnail
from training.dataset.report import Kind, MediaFacts


class Probe(BaseModel):
    """Decode this file and describe it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    work: Literal["probe"] = "probe"
    kind: Kind
    path: str
    extension: str
    threads: int


class Convert(BaseModel):
    """Write this file as the trainer wants it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    work: Literal["convert"] = "convert"
    kind: Kind
    path: str
    target: str
    frames: int | None
    is_copied: bool


class Shrink(BaseModel):
    """Make a thumbnail of this file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    work: Literal["shrink"] = "shrink"
    kind: Kind
    path: str


class DecoderReply(BaseModel):
    """The answer to any; `facts` answers a probe, `thumbnail` a shrink.

    Attributes:
        failure: Why it could not be done, as an error code with a few words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    facts: MediaFacts | None = None
    thumbnail: Thumbnail | None = None
    failure: str | None = None


DecoderRequest = Probe | Convert | Shrink
REQUEST: TypeAdapter[DecoderRequest] = TypeAdapter(
    Annotated[DecoderRequest, Field(discriminator="work")]
)
