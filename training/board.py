"""The newest, lossy word of each stage, told no more often than anybody looks."""

from time import monotonic

from training.ports import Board


class Reporter:
    """Replaces one value on a board; what comes too soon after the last is dropped."""

    def __init__(self, board: Board, key: str) -> None:
        self._board, self._key = board, key
        self._told_at = float("-inf")

    def tell(self, data: bytes, *, is_last: bool = False) -> None:
        """Replace the value; the last one of a stage is never dropped."""
        if is_last or monotonic() - self._told_at >= self._board.pause_seconds:
            self._told_at = monotonic()
            self._board.show(self._key, data)
