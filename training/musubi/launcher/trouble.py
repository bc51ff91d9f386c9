"""Detects training that runs without learning; each problem is reported once."""

import math
from collections.abc import Callable, Iterator

from training.vocabulary import Trouble


class TroubleWatch:
    """Checks every step.

    Args:
        warmup_steps: Steps in which the learning rate may be 0.
        total_steps: The learning rate may be 0 at the last one.
    """

    def __init__(self, warmup_steps: int, total_steps: int) -> None:
        self._warmup_steps, self._total_steps = warmup_steps, total_steps
        self._said: set[Trouble] = set()
        self._has_changed = False

    def look(
        self, step: int, loss: float, rate: float, is_unchanged: Callable[[], bool] | None
    ) -> Iterator[Trouble]:
        """Yield the troubles first seen at this step.

        Args:
            step: The step, counted from 1.
            loss: Its loss.
            rate: Its learning rate.
            is_unchanged: Tells whether every up-weight is still zero; None if the optimizer
                skipped the step, as it does while searching for a loss scale.
        """
        if not math.isfinite(loss):
            yield from self._say("loss_not_finite")
        if rate == 0 and self._warmup_steps < step < self._total_steps:
            yield from self._say("learning_rate_zero")
        if self._has_changed or is_unchanged is None or rate == 0:
            return
        self._has_changed = not is_unchanged()
        if not self._has_changed:
            yield from self._say("adapter_unchanged")

    def _say(self, trouble: Trouble) -> Iterator[Trouble]:
        if trouble not in self._said:
            self._said.add(trouble)
            yield trouble
