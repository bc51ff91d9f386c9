"""Measures the speed of a transfer, to estimate the time left."""

from collections import deque

_WINDOW_SECONDS = 30.0
_LEAST_SECONDS = 2.0  # a speed measured over less time would be too inaccurate


class Meter:
    """Remembers how many bytes had arrived at which time, over the last half minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, size_bytes: int) -> None:
        """Record that `size_bytes` have arrived by `now`, in seconds of any monotonic clock."""
        self._seen.append((now, size_bytes))
        while now - self._seen[0][0] > _WINDOW_SECONDS and len(self._seen) > 2:
            self._seen.popleft()

    def bytes_per_second(self) -> float:
        """Return the speed; 0 if it is not yet known."""
        if not self._seen:
            return 0.0
        (began, before), (ended, after) = self._seen[0], self._seen[-1]
        seconds = ended - began
        return max(after - before, 0) / seconds if seconds >= _LEAST_SECONDS else 0.0
