"""How a clip looks over time: cuts, standstill, black frames, bars, blur."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Self

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from training.dataset.facts import Note
from training.dataset.looks import (
    LOOKED_AT_SIDE,
    Look,
    Luma,
    has_bars,
    is_black,
    is_blank,
    is_blurred,
    perceptual_hash,
)

COARSE_SIDE = 96  # pixels: every frame is looked at this small
KEPT_FRAMES = 8
FIRST_STRIDE = 8  # frames between those kept for a closer look, until there are too many
FULL_RANGE = 2
PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray")
# Moves over photographs change more from frame to frame than cuts, up to 42, but their histograms
# by 0.04 at most; a cut between two of them moves the histogram by 0.7.
CUT_CHANGE = 14.0  # of 255, mean over the picture
CUT_HISTOGRAM = 0.2  # of 1
CUT_JUMP = 5.0  # times the change around it
STILL_CHANGE = 0.7  # of 255, in the blocks that change most: encoding alone reaches 0.5
BLOCK = 16  # pixels


@dataclass(slots=True)
class ClipWatch:
    """Looks at the frames of a clip as they are decoded; keeps a few of them, reduced."""

    seen: int = 0
    black: int = 0
    blank: int = 0
    was_empty: bool = False
    stride: int = FIRST_STRIDE
    changes: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    kept: list[Luma] = field(default_factory=list[Luma])
    before: NDArray[np.int16] | None = None
    before_histogram: NDArray[np.float64] | None = None
    last: VideoFrame | None = None

    @classmethod
    def expecting(cls, frames: int) -> Self:
        """Return a watch for a clip that claims this many frames; 0 where it does not say."""
        return cls(stride=max(FIRST_STRIDE, frames // KEPT_FRAMES))

    def see(self, frame: VideoFrame) -> None:
        """Look at the next frame."""
        coarse = _coarse(frame)
        self._compare(coarse, is_empty=self._is_empty(coarse))
        if self.seen % self.stride == 0:
            self._keep(frame)
        self.seen += 1
        self.last = frame

    def look(self) -> Look:
        """Return what was seen."""
        if self.last is None:
            return Look((), ())
        if (self.seen - 1) % self.stride:
            self.kept.append(_reduced(self.last))
        middle = self.kept[len(self.kept) // 2]
        prints = tuple(perceptual_hash(luma) for luma in (self.kept[0], middle, self.kept[-1]))
        return Look(prints, tuple(self._notes(middle)))

    def _notes(self, middle: Luma) -> list[Note]:
        notes: list[Note] = []
        if self.black:
            notes.append(Note(code="black-frames", detail=f"{self.black} of {self.seen}"))
        if self.blank:
            notes.append(Note(code="blank-frames", detail=f"{self.blank} of {self.seen}"))
        if not notes and is_blurred(self.kept[0]) and is_blurred(middle):
            notes.append(Note(code="blurry"))
        if has_bars(np.max(np.stack(self.kept), axis=0)):
            notes.append(Note(code="letterboxed"))
        if (
            self.seen > 1
            and self.black + self.blank < self.seen
            and movement(self.kept) < STILL_CHANGE
        ):
            notes.append(Note(code="static-clip"))
        if cuts := _cuts(self.changes):
            notes.append(Note(code="scene-cut", detail=f"at frame {_listed(cuts)}"))
        return notes

    def _is_empty(self, coarse: Luma) -> bool:
        """Count and return whether the frame is black, or one colour throughout."""
        if is_black(coarse):
            self.black += 1
            return True
        is_one_colour = is_blank(coarse)
        self.blank += is_one_colour
        return is_one_colour

    def _compare(self, coarse: Luma, *, is_empty: bool) -> None:
        histogram = np.bincount(coarse.ravel() >> 3, minlength=32) / coarse.size
        now = coarse.astype(np.int16)
        if self.before is not None and self.before_histogram is not None:
            change = float(np.abs(now - self.before).mean())
            moved = float(np.abs(histogram - self.before_histogram).sum()) / 2
            # What a flash or black frame interrupts is told as such, not as a cut.
            is_cut = not (is_empty or self.was_empty)
            self.changes.append((change, moved) if is_cut else (0.0, 0.0))
        self.before, self.before_histogram, self.was_empty = now, histogram, is_empty

    def _keep(self, frame: VideoFrame) -> None:
        self.kept.append(_reduced(frame))
        if len(self.kept) > KEPT_FRAMES:
            self.kept = self.kept[::2]
            self.stride *= 2


def _cuts(changes: list[tuple[float, float]]) -> list[int]:
    """Return where one frame differs from the next far more than those around it."""
    found: list[int] = []
    for index, (change, moved) in enumerate(changes):
        if change <= CUT_CHANGE or moved <= CUT_HISTOGRAM:
            continue
        around = [c for c, _ in changes[max(0, index - 4) : index] + changes[index + 1 : index + 5]]
        usual = max(1.0, median(around)) if around else change
        if change > CUT_JUMP * usual:
            found.append(index)
    return found


def _listed(cuts: list[int]) -> str:
    frames = ", ".join(str(cut + 2) for cut in cuts[:3])
    return frames if len(cuts) <= 3 else f"{frames} and {len(cuts) - 3} more"


def movement(kept: Sequence[Luma]) -> float:
    """Return how much the blocks that change most differ from the first frame's, of 255."""
    first = _blocks(kept[0])
    return max(float(np.percentile(np.abs(_blocks(luma) - first), 98)) for luma in kept[1:])


def _blocks(luma: Luma) -> NDArray[np.float64]:
    height, width = (side - side % BLOCK for side in luma.shape)
    blocks = luma[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return blocks.mean(axis=(1, 3))


def _coarse(frame: VideoFrame) -> Luma:
    step = max(1, min(frame.width, frame.height) // COARSE_SIDE)
    if frame.format.name in PLANAR:
        coarse = _stored_luma(frame)[::step, ::step]
        return coarse if _is_full_range(frame) else _LIMITED_TO_FULL[coarse]
    return _scaled(frame, frame.width // step, frame.height // step)


def _reduced(frame: VideoFrame) -> Luma:
    scale = min(1.0, LOOKED_AT_SIDE / min(frame.width, frame.height))
    width, height = round(frame.width * scale), round(frame.height * scale)
    if frame.format.name not in PLANAR:
        return _scaled(frame, width, height)
    # Takes half the time of ffmpeg's scaler, which is set up anew for each frame.
    reduced = Image.fromarray(_stored_luma(frame)).resize((width, height), Image.Resampling.BOX)
    return np.asarray(reduced if _is_full_range(frame) else reduced.point(_LIMITED_TO_FULL_TABLE))


def _scaled(frame: VideoFrame, width: int, height: int) -> Luma:
    grey = frame.reformat(width, height, "gray", interpolation="AREA")  # in full range
    return np.asarray(grey.to_ndarray(), dtype=np.uint8)


def _stored_luma(frame: VideoFrame) -> Luma:
    """Return the levels as stored, without copying them."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def _is_full_range(frame: VideoFrame) -> bool:
    return int(frame.color_range) == FULL_RANGE or "yuvj" in frame.format.name


_LIMITED_TO_FULL = np.clip((np.arange(256) - 16) * 255 / 219, 0, 255).round().astype(np.uint8)
_LIMITED_TO_FULL_TABLE: list[int] = _LIMITED_TO_FULL.tolist()
