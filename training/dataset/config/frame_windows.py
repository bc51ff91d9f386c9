"""Which frames of a clip musubi-tuner trains on.

Source: `load_video` in `dataset/media_utils.py` and `VideoDataset` in
`dataset/image_video_dataset.py` of musubi-tuner, commit 30c658c, for Wan.
`tests/unit/training/dataset/musubi_windows.json` holds the answers of that code.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

FPS = 16
Extraction = Literal["head", "chunk", "slide", "uniform", "full"]
Window = tuple[int, int]  # first frame and number of frames, at 16 fps
_Frame = TypeVar("_Frame")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """Where items start within a clip, and how long they are; defaults as in musubi-tuner.

    Attributes:
        target_frames: Lengths of the items; ignored by "full".
        stride: Frames between the starts of two windows of "slide".
        sample: Windows that "uniform" takes of each length.
        max_frames: The longest item of "full".
    """

    mode: Extraction = "head"
    target_frames: tuple[int, ...] = (1,)
    stride: int = 1
    sample: int = 1
    max_frames: int = 129


def longest_4n1(frames: int) -> int:
    """Return the largest 4N+1 that is at most `frames`; Wan's VAE packs frames by four."""
    return (frames - 1) // 4 * 4 + 1


def frames_at_rate(frames: Iterable[_Frame], source_fps: float | None) -> Iterator[_Frame]:
    """Yield the frames that remain when the rate is lowered to 16 fps.

    musubi-tuner drops frames by number, not by time, and never repeats one: a clip slower than
    16 fps keeps all its frames and plays faster. The running sum is musubi's own; its rounding
    decides about single frames.

    Args:
        frames: All frames of the clip.
        source_fps: The clip's rate; None keeps every frame.
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
    """Return how many of a clip's frames remain at 16 fps."""
    return sum(1 for _ in frames_at_rate(range(frames), source_fps))


def windows(frames: int, extract: Extract) -> list[Window]:
    """Return the items of a clip that has `frames` frames at 16 fps.

    Equal windows share a cache file and are therefore one item.
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
            # musubi: `np.linspace(0, last, sample, dtype=int)`.
            step = last / (extract.sample - 1)
            return [*(int(number * step) for number in range(extract.sample - 1)), last]
        case _:
            return [0]
