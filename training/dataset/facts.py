"""What decoding one image or clip brought to light; crosses the border of the decoding process."""

from pydantic import BaseModel, ConfigDict, Field

from training.dataset.report import Kind


class Note(BaseModel):
    """Something about one file; `findings.fold` turns notes into findings.

    Attributes:
        detail: A few words that go behind the file's name, such as `30 fps`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    detail: str = ""


class MediaFacts(BaseModel):
    """One decoded image or clip.

    Attributes:
        extension: Of the repaired file, with its dot.
        width: Pixels as shown, after rotation; 0 where nothing could be decoded.
        is_copied: The file is as wanted already, and repair takes its bytes.
        prints: Perceptual hashes, 64 bit; of a clip its first, middle and last frame.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    extension: str
    width: int = 0
    height: int = 0
    frames: int | None = None
    fps: float | None = None
    seconds: float | None = None
    frames_16fps: int | None = None
    is_copied: bool = False
    prints: tuple[int, ...] = ()
    notes: tuple[Note, ...] = Field(default=())

    @property
    def is_readable(self) -> bool:
        """Whether pictures came out."""
        return self.width > 0


class UnreadableError(Exception):
    """An image or clip that cannot be used; never leaves the decoding process."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.note = Note(code=code, detail=detail)
