"""Judges how a clip looks over time: cuts, lack of movement, black frames, bars, blur."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
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
# At a short side of 480 pixels. Still photographs with noise of 10 levels, encoded, reach 0.15
# pixels and 2.2 levels; shifted by half a pixel they reach 0.48 pixels.
STILL_PIXELS = 0.25
STILL_LEVELS = 3.0  # of 255: changing light is movement too
MOST = 98  # percentile: small movements count, but not a few outlying blocks
_LIGHT_BLOCK, _MOVE_BLOCK = 16, 32  # pixels
_EDGE = 4.0  # levels between pixels: weaker edges increasingly count as noise


def is_still(pictures: Sequence[Luma]) -> bool:
    """Whether neither light nor shapes change after the first picture."""
    first, others = pictures[0], pictures[1:]
    # Light first: it takes a fiftieth of the time and decides most clips.
    if not others or any(change(first, other) >= STILL_LEVELS for other in others):
        return False
    return all(drift(first, other) < STILL_PIXELS for other in others)


def change(first: Luma, other: Luma) -> float:
    """Return the change in level, of 255, of the blocks that change most."""
    side = _LIGHT_BLOCK
    levels = (_sums(luma.astype(np.float32), side) / side**2 for luma in (first, other))
    return float(np.percentile(np.abs(next(levels) - next(levels)), MOST))


def drift(first: Luma, other: Luma) -> float:
    """Return the movement, in pixels, of the blocks that move most; accurate below about 2.

    Source: Lucas and Kanade, "An Iterative Image Registration Technique" (1981), one step per
    block. Differences without a moving edge, such as noise, count little.
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
    """Return the sum of each complete block."""
    height, width = (length - length % side for length in levels.shape)
    blocks = levels[:height, :width].reshape(height // side, side, width // side, side)
    return blocks.sum(axis=(1, 3))


COARSE_SIDE = 96  # pixels: the size at which every frame is checked
KEPT_FRAMES = 8
FIRST_STRIDE = 8  # frames between those kept for closer checks, until there are too many
FRAMES_OF_GROUP = 4  # a clip is cut to 4N+1 frames: the last of them is a multiple of 4
FULL_RANGE = 2
PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray")
# Moves over photographs change more from frame to frame than cuts, up to 42, but their histograms
# by 0.04 at most; a cut between two of them moves the histogram by 0.7.
CUT_CHANGE = 14.0  # of 255, mean over the picture
CUT_HISTOGRAM = 0.2  # of 1
CUT_JUMP = 5.0  # times the change around it
FADE_FRAMES = 6
STANDING_CHANGE = 0.5  # of 255: what encoding alone makes of a repeated frame


@dataclass(slots=True)
class ClipWatch:
    """Checks what training sees of a clip: the frames at 16 fps that repair keeps.

    The result is therefore the same before and after a repair, at any source frame rate.
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
        """The number of frames seen."""
        return len(self.black)

    def see(self, frame: VideoFrame) -> None:
        """Check the next frame; slow clips repeat theirs."""
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
            # One more than needed: the newest may be cut off.
            self._thin_out(KEPT_FRAMES + 1)
        self.last = frame

    def look(self, count: int, last: VideoFrame) -> Look:
        """Return the look of the first frames.

        Args:
            count: Frames that repair keeps, a 4N+1.
            last: The clip's last frame, repeated for missing ones.
        """
        pictures = self.cut(count, last)
        middle = pictures[len(pictures) // 2]
        prints = tuple(perceptual_hash(luma) for luma in (pictures[0], middle, pictures[-1]))
        return Look(prints, tuple(self._notes(pictures, middle)))

    def cut(self, count: int, last: VideoFrame) -> list[Luma]:
        """Drop what repair cuts off, and return some reduced frames."""
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
        empty = [black or blank for black, blank in zip(self.black, self.blank, strict=True)]
        if cuts := _cuts(self.changes, empty):
            times = [f"{(cut + 1) / FPS:.1f} s" for cut in cuts]
            notes.append(Note(code="scene-cut", detail=f"at {listed(times, 3)}"))
        return notes

    def _note_empty(self, coarse: Luma) -> None:
        """Record whether the frame is black or a single colour."""
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
    """Return the frames after which the picture changes far more than around them."""
    found: list[int] = []
    for index, (change, moved) in enumerate(changes):
        # A flash or a fade to or from black is reported as such, not as a cut.
        near = empty[max(0, index + 1 - FADE_FRAMES) : index + 1 + FADE_FRAMES]
        if change <= CUT_CHANGE or moved <= CUT_HISTOGRAM or any(near):
            continue
        around = changes[max(0, index - 4) : index] + changes[index + 1 : index + 5]
        # A slow clip repeats frames at 16 fps: only the changing ones tell how much it moves.
        moving = [c for c, _ in around if c > STANDING_CHANGE]
        usual = max(1.0, median(moving)) if moving else 1.0
        if around and change > CUT_JUMP * usual:
            found.append(index)
    return [cut for cut in found if cut - 1 not in found]  # only the start of a dissolve


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
    # Half the time of ffmpeg's scaler, which is set up again for each frame.
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
