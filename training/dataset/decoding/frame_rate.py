"""Bringing frames with any timing to 16 a second: nearest in time, never slower or faster."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from training.dataset.config.frame_windows import FPS

STEP_US = 62_500  # microseconds from frame to frame at 16 fps, exactly
JITTER_US = 2_100  # containers that count in milliseconds round every time stamp
Item = TypeVar("Item")


def at_16fps(timed: Iterable[tuple[int, Item]], count: int | None = None) -> Iterator[Item]:
    """Yield `count` items, for each 1/16 s the one nearest in time.

    Args:
        timed: Items with their times in microseconds, rising from 0.
        count: How many to yield; the last item is repeated where the times end early. None: as
            many as are followed by another.
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
    """Return how many frames a clip of this length has at 16 fps, at least 1."""
    return max(1, (2 * length_us * FPS + 1_000_000) // 2_000_000)


def length_us(times_us: Sequence[int], last_duration_us: int | None) -> int:
    """Return the length of a clip: its last time stamp and as long as the last frame stays.

    Args:
        times_us: Rising from 0, one per frame.
        last_duration_us: As the container has it; implausible values are replaced by the median.
    """
    gaps = _gaps(times_us)
    usual = sorted(gaps)[len(gaps) // 2] if gaps else STEP_US
    last = last_duration_us or usual
    return times_us[-1] + (last if last <= 1_000_000 else usual)


def is_variable(times_us: Sequence[int]) -> bool:
    """Whether the frames are not evenly spaced, beyond rounding."""
    gaps = _gaps(times_us)
    if not gaps:
        return False
    return max(gaps) - min(gaps) > max(JITTER_US, (times_us[-1] / len(gaps)) / 10)


def is_16fps(times_us: Sequence[int]) -> bool:
    """Whether each frame already stands where 16 fps puts it."""
    return all(abs(time - index * STEP_US) <= JITTER_US for index, time in enumerate(times_us))


def _gaps(times_us: Sequence[int]) -> list[int]:
    return [after - before for before, after in pairwise(times_us)]
