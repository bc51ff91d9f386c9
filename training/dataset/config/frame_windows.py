"""Computes which frames of a clip musubi-tuner trains on.

Source: `load_video` in `dataset/media_utils.py` and `VideoDataset` in
`dataset/image_video_dataset.py` of musubi-tuner, commit 30c658c, for Wan.
The unit tests compare this module with results of that code, kept in `musubi_windows.json`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

FPS = 16
Extraction = Literal["head", "chunk", "slide", "uniform", "full"]
Window = tuple[int, int]  # index of the first frame, and number of frames, both at 16 fps
_Frame = TypeVar("_Frame")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """How training items are cut from a clip; the defaults are musubi-tuner's.

    Attributes:
        target_frames: Lengths of the items in frames; ignored by "full".
        stride: Frames from the start of one item to the start of the next, for "slide".
        sample: How many items of each length "uniform" takes from a clip.
        max_frames: The largest number of frames that "full" takes from a clip.
    """

    mode: Extraction = "head"
    target_frames: tuple[int, ...] = (1,)
    stride: int = 1
    sample: int = 1
    max_frames: int = 129


def longest_4n1(frames: int) -> int:
    """Round down to 1, 5, 9, ...: Wan's VAE packs every four frames after the first into one."""
    return (frames - 1) // 4 * 4 + 1


def frames_at_rate(frames: Iterable[_Frame], source_fps: float | None) -> Iterator[_Frame]:
    """Yield the frames that musubi-tuner keeps when it lowers a clip's rate to 16 fps.

    A frame is never repeated, so a clip slower than 16 fps keeps all its frames and plays faster.
    Without `source_fps`, every frame is kept. Positions are added up step by step, as in
    musubi-tuner, because rounding errors decide which frames are kept.
    """
    step = 1.0 if source_fps is None else FPS / source_fps
    position, previous = 0.0, -1
    for frame in frames:
        index = int(position)
        position += step
        if index != previous:
            yield frame
        previous = index


def kept_frames(frames: int, source_fps: float) -> int:
    """Return how many frames musubi-tuner keeps when it lowers a clip's rate to 16 fps."""
    return sum(1 for _ in frames_at_rate(range(frames), source_fps))


def windows(frames: int, extract: Extract) -> list[Window]:
    """Return the windows that are used as training items, for a clip of `frames` frames at 16 fps.

    Equal windows are returned once, because they would share a cache file.
    """
    if extract.mode == "full":
        return [(0, longest_4n1(min(frames, extract.max_frames)))]
    targets = sorted({longest_4n1(target) for target in extract.target_frames})
    found = {
        (start, target)
        for target in targets
        if target <= frames
        for start in _starts(frames - target, target, extract)
    }
    return sorted(found, key=lambda window: (window[1], window[0]))


def _starts(last: int, target: int, extract: Extract) -> list[int]:
    match extract.mode:
        case "chunk":
            return list(range(0, last + 1, target))
        case "slide":
            return list(range(0, last + 1, extract.stride))
        case "uniform" if extract.sample > 1:
            # This equals `np.linspace(0, last, sample, dtype=int)`, which musubi-tuner calls.
            step = last / (extract.sample - 1)
            return [*(int(number * step) for number in range(extract.sample - 1)), last]
        case _:
            return [0]
