"""Resamples frames to 16 fps by their timestamps, so that motion keeps its speed."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from training.dataset.config.frame_windows import FPS

STEP_US = 1_000_000 // FPS  # microseconds from frame to frame; a whole number
EARLIEST_US = 2 * STEP_US  # a picture after a pause is shown at most this much too early
JITTER_US = 2_100  # microseconds; some containers round time stamps to milliseconds
Item = TypeVar("Item")


def at_16fps(timed: Iterable[tuple[int, Item]], count: int | None = None) -> Iterator[Item]:
    """Yield `count` items: for each 1/16 s, the item that is nearest in time.

    In a long gap between two items, the earlier item is repeated, as in players.

    Args:
        timed: Items with ascending times in microseconds, starting at 0.
        count: Number of items to yield; the last item is repeated if there are too few. With None,
            the result ends before the last item of `timed`, whose time only marks the end.
    """
    done = 0
    before: tuple[int, Item] | None = None
    for time_us, item in timed:
        if before is not None:
            last_us = max((before[0] + time_us) / 2, time_us - EARLIEST_US)
            while done != count and done * STEP_US <= last_us:
                yield before[1]
                done += 1
        if done == count:
            return
        before = (time_us, item)
    while before is not None and done < (count or 0):
        yield before[1]
        done += 1


def frames_at_16fps(length_us: int) -> int:
    """Return how many frames a clip of this length has at 16 fps; at least 1."""
    return max(1, (2 * length_us * FPS + 1_000_000) // 2_000_000)


def length_us(times_us: Sequence[int], last_duration_us: int | None) -> int:
    """Return the length of a clip in microseconds: its last time plus the last frame's duration.

    Args:
        times_us: The time of each frame, ascending from 0.
        last_duration_us: The last frame's duration as the container states it. If it is None or
            more than a second, the median duration of the other frames is used.
    """
    gaps = _gaps(times_us)
    usual = sorted(gaps)[len(gaps) // 2] if gaps else STEP_US
    last = last_duration_us or usual
    return times_us[-1] + (last if last <= 1_000_000 else usual)


def is_variable(times_us: Sequence[int]) -> bool:
    """Whether the time from frame to frame varies by more than rounding explains."""
    gaps = _gaps(times_us)
    if not gaps:
        return False
    return max(gaps) - min(gaps) > max(JITTER_US, (times_us[-1] / len(gaps)) / 10)


def is_16fps(times_us: Sequence[int]) -> bool:
    """Whether the frames are already 1/16 s apart, starting at 0, except for rounding."""
    return all(abs(time - index * STEP_US) <= JITTER_US for index, time in enumerate(times_us))


def _gaps(times_us: Sequence[int]) -> list[int]:
    return [after - before for before, after in pairwise(times_us)]
