"""The result of an inspection: the samples of a dataset, and the findings on them."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from training.wording import listed_sentences

REPAIR_VERSION = 5  # increase this if a change makes repair write different bytes
# Codes of errors that a new caption resolves.
NO_CAPTION = frozenset(
    {
        *("missing-caption", "empty-caption", "unreadable-caption"),
        *("caption-markup", "caption-failed", "caption-garbled"),
    }
)
Severity = Literal["error", "warning", "info"]
Kind = Literal["image", "video"]
Media = Literal["repaired", "original"]
# Called with the number of finished samples and the total number of samples.
OnProgress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Do nothing; pass this as `on_progress` if no progress is to be shown."""


class Finding(BaseModel):
    """A problem or a fact that the user should know about the dataset, worded for the user.

    Attributes:
        code: A short name that never changes, such as "missing-caption".
        file: The path in the zip if a single file is affected; else None.
        files: The zip paths of all affected files.
        repaired: Whether `repair` fixes the problem without asking.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    severity: Severity
    file: str | None
    cause: str
    fix: str
    repaired: bool
    files: tuple[str, ...] = ()


def causes_and_fixes(findings: Sequence[Finding]) -> tuple[str, str]:
    """Return two texts: the causes of the first five findings, and their fixes."""
    causes = listed_sentences([finding.cause for finding in findings], most=5)
    return causes, " ".join(dict.fromkeys(finding.fix for finding in findings[:5]))


class Sample(BaseModel):
    """One image or clip with its caption, as it will be in the repaired dataset.

    Attributes:
        name: Path in the repaired dataset, such as `videos/001.mp4`.
        source: Path in the zip.
        sha256: Hash of the file in the zip.
        width: Width in pixels as players show it, after rotation; for a clip, an even number.
        height: Height in pixels as players show it; for a clip, an even number.
        frames: Number of frames in the uploaded clip.
        fps: Mean frame rate of the uploaded clip.
        frames_16fps: Number of frames that training sees, at 16 fps; repair trims it to 4N+1.
        is_copied: Whether repair copies the file unchanged, because it needs no change.
        is_interlaced: Whether frames mix two fields from different moments; repair then
            deinterlaces them.
        stored_fps: Frame rate of the file that training reads.
        repeats: How many times an epoch trains on it; the same for all samples of a folder.
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
    is_interlaced: bool = False
    stored_fps: float = 16.0
    repeats: int = 1

    @property
    def folder(self) -> str:
        return self.name.rpartition("/")[0]


class FoundConfig(BaseModel):
    """A dataset TOML found in the zip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    text: str


class FoundLayout(BaseModel):
    """The layouts of other tools found in the zip.

    Attributes:
        names: Their display names, such as "kohya folders".
        is_read: Whether the user chose to read the dataset in these layouts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    is_read: bool


class Totals(BaseModel):
    """The number of images and clips in a dataset, and the total length of its clips."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    clips: int
    seconds: float
    frames_16fps: int


class Report(BaseModel):
    """The result of inspecting a zip; the same content always gives the same report.

    Attributes:
        version: The content id; see `content_id`.
        samples: All images and clips that can be decoded, sorted by name.
        findings: Errors first, then warnings, then infos.
        media: Whether training reads the repaired or the original images and clips.
        configs: Dataset TOMLs in the zip; a run uses one only on request.
        layout: Layouts of other tools that were recognized; None if there are none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    samples: tuple[Sample, ...]
    findings: tuple[Finding, ...]
    media: Media = "repaired"
    configs: tuple[FoundConfig, ...] = ()
    layout: FoundLayout | None = None

    @property
    def has_unread_layout(self) -> bool:
        return self.layout is not None and not self.layout.is_read

    @property
    def is_usable(self) -> bool:
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def images(self) -> tuple[Sample, ...]:
        return tuple(sample for sample in self.samples if sample.kind == "image")

    @property
    def clips(self) -> tuple[Sample, ...]:
        return tuple(sample for sample in self.samples if sample.kind == "video")

    @property
    def totals(self) -> Totals:
        clips = self.clips
        return Totals(
            images=len(self.images),
            clips=len(clips),
            seconds=round(sum(clip.seconds or 0.0 for clip in clips), 3),
            frames_16fps=sum(clip.frames_16fps or 0 for clip in clips),
        )

    @property
    def bad_files(self) -> tuple[str, ...]:
        """Zip paths of files that cannot be used whatever their caption, such as damaged files."""
        bad = (error for error in self.errors if error.code not in NO_CAPTION)
        return tuple(dict.fromkeys(file for error in bad for file in error.files))

    @property
    def can_be_settled(self) -> bool:
        """Whether the errors can be resolved by leaving files out and writing captions."""
        bad = set(self.bad_files)
        return bool(self.errors) and any(sample.source not in bad for sample in self.samples)

    @property
    def lacks_only_captions(self) -> bool:
        """Whether writing captions resolves all errors."""
        return all(error.code in NO_CAPTION for error in self.errors)

    @property
    def without_caption(self) -> tuple[Sample, ...]:
        """The samples with no caption, or with a text that is not a caption."""
        files = {file for error in self.errors if error.code in NO_CAPTION for file in error.files}
        return tuple(sample for sample in self.samples if sample.source in files)

    def codes(self) -> Sequence[str]:
        return [finding.code for finding in self.findings]


def content_id(samples: Sequence[Sample], media: Media = "repaired") -> str:
    """Return a hash of the names, captions and uploaded bytes of samples.

    It also depends on `media` and, for repaired files, on `REPAIR_VERSION`.
    """
    made_by = f"repair {REPAIR_VERSION}" if media == "repaired" else media
    digest = hashlib.sha256(f"{made_by}\n".encode())
    for sample in sorted(samples, key=lambda sample: sample.name):
        for part in (sample.name, sample.sha256, sample.caption):
            content = part.encode()
            digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()[:32]


class Note(BaseModel):
    """A remark on one file; `findings.fold` combines the notes on several files into findings.

    Attributes:
        detail: A few words to show after the file name, such as `30 fps`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    detail: str = ""


class MediaFacts(BaseModel):
    """The facts about an image or clip, found by decoding it.

    Attributes:
        extension: Extension of the repaired file, such as ".png".
        width: Width in pixels as players show it, after rotation; 0 if it could not be decoded.
        is_copied: Whether repair copies the file unchanged, because it needs no change.
        is_interlaced: Whether frames of the clip mix two fields from different moments.
        prints: 64-bit perceptual hashes: one for an image, and three for a clip (of its first,
            middle and last frame).
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
    is_interlaced: bool = False
    prints: tuple[int, ...] = ()
    notes: tuple[Note, ...] = Field(default=())

    @property
    def is_readable(self) -> bool:
        return self.width > 0


class UnreadableError(Exception):
    """An image or clip is unusable. The decoding process turns this error into a note."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.note = Note(code=code, detail=detail)
