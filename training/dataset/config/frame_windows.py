"""Which frames of a clip the trainer takes, as musubi-tuner counts them.

Source: `load_video` in `dataset/media_utils.py` and `VideoDataset` in
`dataset/image_video_dataset.py` of musubi-tuner, commit 30c658c, for Wan.
`tests/unit/training/dataset/musubi_windows.json` holds what that code itself answers.
"""

from dataclasses import dataclass
from typing import Literal

Extraction = Literal["head", "chunk", "slide", "uniform", "full"]
Window = tuple[int, int]  # first frame and number of frames, at 16 fps


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """Where in a clip items begin, and how long they are; the defaults are musubi-tuner's.

    Attributes:
        target_frames: Lengths of the items; not asked by "full".
        stride: Frames from window to window of "slide".
        sample: How many windows "uniform" takes for each length.
        max_frames: The longest item of "full".
    """

    mode: Extraction = "head"
    target_frames: tuple[int, ...] = (1,)
    stride: int = 1
    sample: int = 1
    max_frames: int = 129


def kept_frames(frames: int, source_fps: float) -> int:
    """Return how many frames are left of a clip once its rate is brought down to 16.

    Frames are dropped by their number alone, not by their time, and never repeated. The running
    sum is the trainer's own: its rounding decides about single frames.

    Args:
        frames: Frames of the stored clip.
        source_fps: At least 16; of slower clips every frame is kept, and they play faster.
    """
    step = FPS / source_fps
    position, previous, kept = 0.0, -1, 0
    for _ in range(frames):
        index = int(position)
        position += step
        kept += index != previous
        previous = index
    return kept


def windows(frames: int, extract: Extract) -> list[Window]:
    """Return the items of a clip with that many frames at 16 fps, each once.

    Two windows at the same place share one cache file, and so are one item.
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
            # What the trainer's `np.linspace(0, last, sample, dtype=int)` gives.
            step = last / (extract.sample - 1)
            return [*(int(number * step) for number in range(extract.sample - 1)), last]
        case _:
            return [0]


FPS = 16


def longest_4n1(frames: int) -> int:
    """Return the largest 4N+1 that is at most `frames`; Wan's VAE packs frames by four."""
    return (frames - 1) // 4 * 4 + 1
