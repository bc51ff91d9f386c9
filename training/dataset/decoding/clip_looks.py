"""Finds visible flaws of a clip: cuts, no movement, black frames, black bars, blur."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import median

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from training.dataset.config.frame_windows import FPS
from training.dataset.decoding.image_looks import (
    LOOKED_AT_SIDE,
    Look,
    Luma,
    has_bars,
    is_black,
    is_blank,
    is_blurred,
    perceptual_hash,
)
from training.dataset.report import Note
from training.wording import listed

Levels = NDArray[np.float32]
# Below both limits, a clip counts as still. The limits are for frames whose short side is 480
# pixels. Encoded clips of a still photograph with noise of 10 levels reach 0.15 pixels and 2.2
# levels. A photograph that moves by half a pixel reaches 0.48 pixels.
STILL_PIXELS = 0.25
STILL_LEVELS = 3.0  # levels of 255; changing light counts as movement too
MOST = 98  # percentile of the blocks: small movements count, but a few outliers do not
_LIGHT_BLOCK, _MOVE_BLOCK = 16, 32  # pixels
_EDGE = 4.0  # levels from pixel to pixel; much weaker edges count as noise


def is_still(pictures: Sequence[Luma]) -> bool:
    """Whether all pictures match the first one, with no movement and no change of light."""
    first, others = pictures[0], pictures[1:]
    # Compare brightness first: that takes a fiftieth of the time and settles most clips.
    if not others or any(change(first, other) >= STILL_LEVELS for other in others):
        return False
    return all(drift(first, other) < STILL_PIXELS for other in others)


def change(first: Luma, other: Luma) -> float:
    """Return how much the brightness of the most changed blocks differs, in levels (0 to 255)."""
    side = _LIGHT_BLOCK
    levels = (_sums(luma.astype(np.float32), side) / side**2 for luma in (first, other))
    return float(np.percentile(np.abs(next(levels) - next(levels)), MOST))


def drift(first: Luma, other: Luma) -> float:
    """Return how far the fastest blocks have moved, in pixels; accurate up to about 2 pixels.

    Source: Lucas and Kanade, "An Iterative Image Registration Technique" (1981), one step per
    block. Noise and other differences away from edges have little effect.
    """
    before, after = first.astype(np.float32), other.astype(np.float32)
    twice = before + after
    down, across = _steps(twice, axis=0), _steps(twice, axis=1)
    later = after - before
    least = np.float32((_MOVE_BLOCK * _EDGE) ** 2)
    xx, yy = _products(across, across) + least, _products(down, down) + least
    xy, xt, yt = _products(across, down), _products(across, later), _products(down, later)
    x, y = xy * yt - yy * xt, xy * xt - xx * yt
    return float(np.percentile(np.hypot(x, y) / (xx * yy - xy * xy), MOST))


def _steps(twice: Levels, *, axis: int) -> Levels:
    return np.asarray(np.gradient(twice, axis=axis), dtype=np.float32) / np.float32(2)


def _products(one: Levels, other: Levels) -> Levels:
    return _sums(one * other, _MOVE_BLOCK)


def _sums(levels: Levels, side: int) -> Levels:
    """Return the sum of each block of `side` x `side` levels; incomplete blocks are left out."""
    height, width = (length - length % side for length in levels.shape)
    blocks = levels[:height, :width].reshape(height // side, side, width // side, side)
    return blocks.sum(axis=(1, 3))


COARSE_SIDE = 96  # pixels of the short side; every frame is checked at this size
KEPT_FRAMES = 8  # limit on the frames kept for closer checks
FIRST_STRIDE = 8  # one frame in 8 is kept for these checks; in longer clips, one in 16, 32 ...
# A clip is cut to 4N+1 frames, so the index of the last frame is a multiple of this.
FRAMES_OF_GROUP = 4
FULL_RANGE = 2
PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray")
# A change from frame to frame is a cut if it exceeds all three limits. A camera that moves over a
# photograph changes the levels by up to 42, more than many cuts do, but the histogram by only 0.04.
# A cut between two photographs changes the histogram by 0.7.
CUT_CHANGE = 14.0  # levels of 255, mean over the picture
CUT_HISTOGRAM = 0.2  # share of the pixels that move to another bin
CUT_JUMP = 5.0  # times the usual change between the frames around the cut
FADE_FRAMES = 6  # a change this close to a black or blank frame does not count as a cut
LONG_PAUSE = 30  # repeated frames, about 2 s; shorter pauses are common in animation
STANDING_CHANGE = 0.5  # levels of 255; encoding alone changes a repeated frame by up to this much


@dataclass(slots=True)
class ClipWatch:
    """Checks those frames of a clip that training will see: the ones that repair keeps.

    These frames are at 16 fps whatever the source's frame rate is, so the result is the same before
    and after a repair.
    """

    black: list[bool] = field(default_factory=list[bool])
    blank: list[bool] = field(default_factory=list[bool])
    changes: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    stride: int = FIRST_STRIDE
    kept: dict[int, Luma] = field(default_factory=dict[int, Luma])
    ends: deque[tuple[int, VideoFrame]] = field(default_factory=lambda: deque(maxlen=2))
    before: NDArray[np.int16] | None = None
    before_histogram: NDArray[np.float64] | None = None
    last: VideoFrame | None = None

    @property
    def seen(self) -> int:
        """The number of frames checked so far."""
        return len(self.black)

    def see(self, frame: VideoFrame) -> None:
        """Check the next frame at 16 fps; in a slower clip, it may repeat the previous frame."""
        index = self.seen
        if frame is self.last:
            self._repeat()
        else:
            coarse = _coarse(frame)
            self._note_empty(coarse)
            self._compare(coarse)
        if index % FRAMES_OF_GROUP == 0:
            self.ends.append((index, frame))
        if index % self.stride == 0:
            self.kept[index] = _reduced(frame)
            # Keep one frame more than needed, because repair may cut off the newest one.
            self._thin_out(KEPT_FRAMES + 1)
        self.last = frame

    def look(self, count: int, last: VideoFrame) -> Look:
        """Return the hashes and flaws of the first `count` frames.

        Args:
            count: The number of frames that repair keeps; 4N+1.
            last: The clip's last frame; it is repeated if the clip has fewer frames.
        """
        pictures = self.cut(count, last)
        middle = pictures[len(pictures) // 2]
        prints = tuple(perceptual_hash(luma) for luma in (pictures[0], middle, pictures[-1]))
        return Look(prints, tuple(self._notes(pictures, middle)))

    def cut(self, count: int, last: VideoFrame) -> list[Luma]:
        """Drop the frames that repair cuts off; return some of the kept frames, scaled down."""
        while self.seen < count:
            self.see(last)
        del self.black[count:], self.blank[count:], self.changes[count - 1 :]
        self.kept = {index: luma for index, luma in self.kept.items() if index < count}
        self._thin_out(KEPT_FRAMES)
        pictures = list(self.kept.values())
        if count - 1 not in self.kept:
            pictures.append(_reduced(dict(self.ends)[count - 1]))
        return pictures

    def _notes(self, pictures: list[Luma], middle: Luma) -> list[Note]:
        notes: list[Note] = []
        black, blank = sum(self.black), sum(self.blank)
        if black:
            notes.append(Note(code="black-frames", detail=f"{black} of {self.seen}"))
        if blank:
            notes.append(Note(code="blank-frames", detail=f"{blank} of {self.seen}"))
        if not notes and is_blurred(pictures[0]) and is_blurred(middle):
            notes.append(Note(code="blurry"))
        if has_bars(np.max(np.stack(pictures), axis=0)):
            notes.append(Note(code="letterboxed"))
        if self.seen > 1 and black + blank < self.seen and is_still(pictures):
            notes.append(Note(code="static-clip"))
        elif pauses := self._pauses():
            times = [f"{count / FPS:.1f} s at {first / FPS:.1f} s" for first, count in pauses]
            notes.append(Note(code="long-pause", detail=listed(times, 3)))
        empty = [black or blank for black, blank in zip(self.black, self.blank, strict=True)]
        if cuts := _cuts(self.changes, empty):
            times = [f"{(cut + 1) / FPS:.1f} s" for cut in cuts]
            notes.append(Note(code="scene-cut", detail=f"at {listed(times, 3)}"))
        return notes

    def _pauses(self) -> list[tuple[int, int]]:
        """Return the first frame and the number of repetitions of each long pause.

        A clip that stands still after each picture, such as one at 1 fps, has no pauses.
        """
        found: list[tuple[int, int]] = []
        moving = 0
        first = 0
        for is_standing, run in groupby(self.changes, lambda one: one[0] <= STANDING_CHANGE):
            count = len([*run])
            if not is_standing:
                moving += count
            elif count >= LONG_PAUSE and self._stands(first, count):
                found.append((first, count))
            first += count
        return found if moving > 2 * len(found) else []

    def _stands(self, first: int, count: int) -> bool:
        """Whether frame `first` is repeated, exactly or nearly, and is neither black nor blank."""
        if self.black[first] or self.blank[first]:
            return False
        if not any(change for change, _ in self.changes[first : first + count]):
            return True
        kept = [luma for index, luma in self.kept.items() if first <= index <= first + count]
        return len(kept) > 1 and is_still(kept)

    def _note_empty(self, coarse: Luma) -> None:
        """Record whether a frame is black, or has any other single colour."""
        self.black.append(is_black(coarse))
        self.blank.append(not self.black[-1] and is_blank(coarse))

    def _compare(self, coarse: Luma) -> None:
        histogram = np.bincount(coarse.ravel() >> 3, minlength=32) / coarse.size
        now = coarse.astype(np.int16)
        if self.before is not None and self.before_histogram is not None:
            change = float(np.abs(now - self.before).mean())
            moved = float(np.abs(histogram - self.before_histogram).sum()) / 2
            self.changes.append((change, moved))
        self.before, self.before_histogram = now, histogram

    def _repeat(self) -> None:
        self.black.append(self.black[-1])
        self.blank.append(self.blank[-1])
        self.changes.append((0.0, 0.0))

    def _thin_out(self, most: int) -> None:
        while len(self.kept) > most:
            self.stride *= 2
            self.kept = {i: luma for i, luma in self.kept.items() if i % self.stride == 0}


def _cuts(changes: list[tuple[float, float]], empty: list[bool]) -> list[int]:
    """Return the indices of the frames before cuts, given the changes from frame to frame."""
    found: list[int] = []
    for index, (change, moved) in enumerate(changes):
        # A change near black or blank frames is a flash or a fade, which has its own finding.
        near = empty[max(0, index + 1 - FADE_FRAMES) : index + 1 + FADE_FRAMES]
        if change <= CUT_CHANGE or moved <= CUT_HISTOGRAM or any(near):
            continue
        around = changes[max(0, index - 4) : index] + changes[index + 1 : index + 5]
        # Leave out repeated frames: a clip slower than 16 fps has many, and they would lower the
        # usual change.
        moving = [c for c, _ in around if c > STANDING_CHANGE]
        usual = max(1.0, median(moving)) if moving else 1.0
        if around and change > CUT_JUMP * usual:
            found.append(index)
    # A dissolve takes several frames, but counts as one cut.
    return [cut for cut in found if cut - 1 not in found]


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
    # Pillow takes half the time of ffmpeg's scaler, which has to be set up again for each frame.
    reduced = Image.fromarray(_stored_luma(frame)).resize((width, height), Image.Resampling.BOX)
    return np.asarray(reduced if _is_full_range(frame) else reduced.point(_LIMITED_TO_FULL_TABLE))


def _scaled(frame: VideoFrame, width: int, height: int) -> Luma:
    grey = frame.reformat(width, height, "gray", interpolation="AREA")  # 0 is black, 255 is white
    return np.asarray(grey.to_ndarray(), dtype=np.uint8)


def _stored_luma(frame: VideoFrame) -> Luma:
    """Return the frame's luma as stored, in limited or full range, without copying it."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def _is_full_range(frame: VideoFrame) -> bool:
    return int(frame.color_range) == FULL_RANGE or "yuvj" in frame.format.name


_LIMITED_TO_FULL = np.clip((np.arange(256) - 16) * 255 / 219, 0, 255).round().astype(np.uint8)
_LIMITED_TO_FULL_TABLE: list[int] = _LIMITED_TO_FULL.tolist()
