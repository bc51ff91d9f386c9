"""Detects failing training: losses that are NaN or diverge, and adapters that do not learn.

This is the only place that makes these judgements. It imports only the standard library, because it
also runs in musubi-tuner's environment.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from training.vocabulary import Trouble

# Training ends after this many steps in a row with a NaN or infinite loss; musubi-tuner would go
# on.
STEPS_IN_A_ROW = 3
# The loss has diverged if an epoch's mean is above this multiple of the lowest earlier mean.
DIVERGED = 3.0
# The loss is flat after an epoch if at least `_FLAT_EPOCHS` more epochs have lowered the mean by no
# more than the fraction `_FLAT_SHARE`.
_FLAT_EPOCHS = 5
_FLAT_SHARE = 0.02
# Ordered from the worst trouble to the mildest.
_GRAVITY: tuple[Trouble, ...] = (
    "loss_not_finite",
    "adapter_unchanged",
    "loss_diverged",
    "learning_rate_zero",
)


@dataclass(slots=True)
class LossWatch:
    """Counts consecutive losses that are NaN or infinite.

    Attributes:
        first_step: The first step of the current series; only valid while `is_broken`.
        items: The cache files that the first step trained on.
    """

    first_step: int = 0
    items: tuple[str, ...] = ()
    _count: int = 0

    def see(self, step: int, loss: float, items: tuple[str, ...]) -> bool:
        """Record the loss of a step; return whether training should end."""
        if math.isfinite(loss):
            self._count = 0
            return False
        self._count += 1
        if self._count == 1:
            self.first_step, self.items = step, items
        return self._count >= STEPS_IN_A_ROW

    @property
    def is_broken(self) -> bool:
        """Whether the last loss was NaN or infinite."""
        return self._count > 0


class TroubleWatch:
    """Detects training that runs without learning; reports each problem once.

    Args:
        warmup_steps: The number of steps at the start in which the learning rate may be 0.
        total_steps: The number of the last step, at which the learning rate may be 0 again.
    """

    def __init__(self, warmup_steps: int, total_steps: int) -> None:
        self._warmup_steps, self._total_steps = warmup_steps, total_steps
        self._reported: set[Trouble] = set()
        self._has_changed = False

    def look(
        self, step: int, loss: float, rate: float, is_unchanged: Callable[[], bool] | None
    ) -> Iterator[Trouble]:
        """Yield the troubles first seen at this step.

        Args:
            step: The step, counted from 1.
            loss: Its loss.
            rate: Its learning rate.
            is_unchanged: A function that returns whether every up-weight is still zero. Pass None
                if the optimizer skipped the step, as it does while searching for a loss scale.
        """
        if not math.isfinite(loss):
            yield from self._report("loss_not_finite")
        if rate == 0 and self._warmup_steps < step < self._total_steps:
            yield from self._report("learning_rate_zero")
        if self._has_changed or is_unchanged is None or rate == 0:
            return
        self._has_changed = not is_unchanged()
        if not self._has_changed:
            yield from self._report("adapter_unchanged")

    def _report(self, trouble: Trouble) -> Iterator[Trouble]:
        if trouble not in self._reported:
            self._reported.add(trouble)
            yield trouble


def has_diverged(losses: Mapping[int, float]) -> bool:
    """Return whether an epoch's mean loss is far above the lowest mean of the epochs before it.

    Args:
        losses: The mean loss of each epoch, keyed by its number.
    """
    return _diverged_in(losses) is not None


def _diverged_in(losses: Mapping[int, float]) -> int | None:
    lowest = math.inf
    for epoch, loss in sorted(losses.items()):
        if loss > DIVERGED * lowest:
            return epoch
        lowest = min(lowest, loss)
    return None


@dataclass(frozen=True, slots=True)
class LossCourse:
    """How the mean loss changed from epoch to epoch.

    Attributes:
        first: The mean of the first epoch.
        best: The lowest mean, reached in the epoch `best_epoch`.
        last: The mean of the newest epoch.
        flat_since: The epoch after which the loss hardly fell; None if it is still falling.
        diverged_in: The epoch in which the loss diverged; None if it did not.
    """

    first: float
    best: float
    best_epoch: int
    last: float
    flat_since: int | None
    diverged_in: int | None

    @property
    def fallen(self) -> float:
        """The share by which the newest mean is below the first; negative if it is above."""
        return 1 - self.last / self.first if self.first > 0 else 0.0


def course_of(losses: Mapping[int, float]) -> LossCourse | None:
    """Return how the loss changed; None before the end of the first epoch.

    Args:
        losses: The mean loss of each epoch, keyed by its number; all finite.
    """
    if not losses:
        return None
    epochs = sorted(losses)
    best_epoch = min(epochs, key=lambda epoch: losses[epoch])
    return LossCourse(
        first=losses[epochs[0]],
        best=losses[best_epoch],
        best_epoch=best_epoch,
        last=losses[epochs[-1]],
        flat_since=_flat_since(losses, epochs),
        diverged_in=_diverged_in(losses),
    )


def _flat_since(losses: Mapping[int, float], epochs: Sequence[int]) -> int | None:
    enough = min(losses.values()) / (1 - _FLAT_SHARE)
    since = next(index for index, epoch in enumerate(epochs) if losses[epoch] <= enough)
    return epochs[since] if len(epochs) - 1 - since >= _FLAT_EPOCHS else None


def gravest(troubles: Iterable[Trouble]) -> Trouble | None:
    """Return the trouble that affects the result most; None if there is none."""
    return min(troubles, key=_GRAVITY.index, default=None)
