"""What an inspection found: the samples of a dataset and the findings about them."""

import hashlib
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

REPAIR_VERSION = 2  # raised whenever repair would write other bytes than before
Severity = Literal["error", "warning", "info"]
Kind = Literal["image", "video"]
Media = Literal["repaired", "original"]


class Finding(BaseModel):
    """One thing to know about a dataset, in its owner's words.

    Attributes:
        code: Short kebab-case name, stable across versions.
        file: Path in the zip, if exactly one file is affected.
        files: All affected paths.
        repaired: Whether `repair` fixes it without asking.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    severity: Severity
    file: str | None
    cause: str
    fix: str
    repaired: bool
    files: tuple[str, ...] = ()


class Sample(BaseModel):
    """One image or clip with its caption, as it will be in the repaired dataset.

    Attributes:
        name: Path in the repaired dataset, such as `videos/001.mp4`.
        source: Path in the zip.
        sha256: Hash of the file in the zip.
        width: Pixels as shown, after rotation, and even for a clip.
        height: Likewise.
        frames: Frames in the source clip.
        fps: Mean frame rate of the source clip.
        frames_16fps: Frames available to training, at 16 fps; repair trims them to 4N+1.
        is_copied: The file needs no change; repair copies it.
        stored_fps: Frame rate of the clip that training reads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str
    kind: Kind
    caption: str
    sha256: str
    width: int
    height: int
    frames: int | None = None
    fps: float | None = None
    seconds: float | None = None
    frames_16fps: int | None = None
    is_copied: bool = False
    stored_fps: float = 16.0

    @property
    def folder(self) -> str:
        """The folder within the dataset."""
        return self.name.rpartition("/")[0]


class FoundConfig(BaseModel):
    """A dataset TOML found in the zip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    text: str


class Totals(BaseModel):
    """The size of a dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    clips: int
    seconds: float
    frames_16fps: int


class Report(BaseModel):
    """The result of inspecting a zip; equal content gives an equal report.

    Attributes:
        version: Content id of repaired names, media bytes and captions.
        samples: Sorted by name; files that cannot be decoded appear only in the findings.
        findings: Errors first.
        media: Whether training reads the repaired files or the original ones.
        configs: Dataset TOMLs found in the zip; used only if a run asks for them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    samples: tuple[Sample, ...]
    findings: tuple[Finding, ...]
    media: Media = "repaired"
    configs: tuple[FoundConfig, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether no finding blocks training."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that block training."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def images(self) -> tuple[Sample, ...]:
        """The still images."""
        return tuple(sample for sample in self.samples if sample.kind == "image")

    @property
    def clips(self) -> tuple[Sample, ...]:
        """The video clips."""
        return tuple(sample for sample in self.samples if sample.kind == "video")

    @property
    def totals(self) -> Totals:
        """The size of the dataset."""
        clips = self.clips
        return Totals(
            images=len(self.images),
            clips=len(clips),
            seconds=round(sum(clip.seconds or 0.0 for clip in clips), 3),
            frames_16fps=sum(clip.frames_16fps or 0 for clip in clips),
        )

    def codes(self) -> Sequence[str]:
        """The codes of all findings, in order."""
        return [finding.code for finding in self.findings]


def content_id(samples: Sequence[Sample], media: Media = "repaired") -> str:
    """Return an id of what training sees, independent of the zip's order and time stamps."""
    made_by = f"repair {REPAIR_VERSION}" if media == "repaired" else media
    digest = hashlib.sha256(f"{made_by}\n".encode())
    for sample in sorted(samples, key=lambda sample: sample.name):
        for part in (sample.name, sample.sha256, sample.caption):
            content = part.encode()
            digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()[:32]


class Note(BaseModel):
    """An observation about one file; `findings.fold` turns notes into findings.

    Attributes:
        detail: A few words to show after the file name, such as `30 fps`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    detail: str = ""


class MediaFacts(BaseModel):
    """One decoded image or clip.

    Attributes:
        extension: Extension of the repaired file, with its dot.
        width: Displayed width in pixels, after rotation; 0 if nothing could be decoded.
        is_copied: The file needs no change; repair copies it.
        prints: 64-bit perceptual hashes; for a clip, of its first, middle and last frame.
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
        """Whether it could be decoded."""
        return self.width > 0


class UnreadableError(Exception):
    """An unusable image or clip; never leaves the decoding process."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.note = Note(code=code, detail=detail)
