"""Converts frames with any timing to 16 fps without changing the speed."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from training.dataset.config.frame_windows import FPS

STEP_US = 62_500  # microseconds between frames at 16 fps, exact
JITTER_US = 2_100  # containers with a millisecond clock round every time stamp
Item = TypeVar("Item")


def at_16fps(timed: Iterable[tuple[int, Item]], count: int | None = None) -> Iterator[Item]:
    """Yield `count` items: for each 1/16 s the nearest in time.

    Args:
        timed: Items with ascending times in microseconds, starting at 0.
        count: Number of items to yield, repeating the last if the times end early; None yields
            those that have a successor.
    """
    done = 0
    before: tuple[int, Item] | None = None
    for time_us, item in timed:
        if before is not None:
            while done != count and 2 * done * STEP_US <= before[0] + time_us:
                yield before[1]
                done += 1
        if done == count:
            return
        before = (time_us, item)
    while before is not None and done < (count or 0):
        yield before[1]
        done += 1


def frames_at_16fps(length_us: int) -> int:
    """Return the number of frames of a clip of this length at 16 fps, at least 1."""
    return max(1, (2 * length_us * FPS + 1_000_000) // 2_000_000)


def length_us(times_us: Sequence[int], last_duration_us: int | None) -> int:
    """Return the length of a clip: its last time stamp plus the duration of the last frame.

    Args:
        times_us: Ascending from 0, one per frame.
        last_duration_us: Duration by the container; the median replaces implausible values.
    """
    gaps = _gaps(times_us)
    usual = sorted(gaps)[len(gaps) // 2] if gaps else STEP_US
    last = last_duration_us or usual
    return times_us[-1] + (last if last <= 1_000_000 else usual)


def is_variable(times_us: Sequence[int]) -> bool:
    """Whether the frame spacing varies by more than rounding."""
    gaps = _gaps(times_us)
    if not gaps:
        return False
    return max(gaps) - min(gaps) > max(JITTER_US, (times_us[-1] / len(gaps)) / 10)


def is_16fps(times_us: Sequence[int]) -> bool:
    """Whether every frame already has its time at 16 fps."""
    return all(abs(time - index * STEP_US) <= JITTER_US for index, time in enumerate(times_us))


def _gaps(times_us: Sequence[int]) -> list[int]:
    return [after - before for before, after in pairwise(times_us)]
