"""Times the steps of a training attempt, by size, and predicts how long the rest will take."""

import statistics
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace

from training.dataset.config.group import StepSize
from training.estimates.step_times import StepKind, StepTimes
from training.runs.events import TimedSteps
from training.runs.training_events import FastRefused, StepDone, Warned

# A median of fewer steps is not recorded. The first step of a size never counts, because kernels
# are chosen and graphs compiled in it.
FEWEST_STEPS = 10
_MOST_SIZES = 64  # how many of the most frequent sizes are recorded
_NEWEST = 101  # medians are of this many newest steps, so that they follow a change of speed


class StepClock:
    """The steps that one attempt took.

    Args:
        kind: The kind of its steps.
        epoch_steps: How many steps of each size an epoch has.
    """

    def __init__(self, kind: StepKind, epoch_steps: Mapping[StepSize, int]) -> None:
        self._kind, self._epoch_steps = kind, epoch_steps
        self._newest: StepDone | None = None
        self._done: Counter[StepSize] = Counter()  # in the newest step's epoch
        self._restart()

    @property
    def kind(self) -> StepKind:
        return self._kind

    def heed(self, event: Warned | FastRefused) -> None:
        """Start again if steps are no longer compiled from now on."""
        if isinstance(event, FastRefused):
            self._kind = replace(self._kind, fast="off")
            self._restart()

    def _restart(self) -> None:
        # By number of tokens: seconds per sample of the first step, and of the newest others.
        self._first = dict[int, float]()
        self._later = dict[int, deque[float]]()
        self._counts: Counter[int] = Counter()
        self._all: deque[float] = deque(maxlen=_NEWEST)
        self._are_sizes_known = bool(self._epoch_steps)

    def see(self, step: StepDone) -> None:
        if self._newest is None or step.epoch != self._newest.epoch:
            self._done.clear()
        self._newest = step
        if step.seconds_per_step is None:
            return
        self._all.append(step.seconds_per_step)
        if step.samples is None or step.tokens is None:
            self._are_sizes_known = False
            return
        size = (step.samples, step.tokens)
        self._are_sizes_known &= size in self._epoch_steps
        self._done[size] += 1
        self._time(step.tokens, step.seconds_per_step / step.samples)

    def _time(self, tokens: int, seconds: float) -> None:
        if tokens not in self._first:
            self._first[tokens] = seconds
            return
        self._later.setdefault(tokens, deque(maxlen=_NEWEST)).append(seconds)
        self._counts[tokens] += 1

    def timed(self) -> tuple[TimedSteps, ...]:
        """Return the median for each number of tokens of which enough steps were taken."""
        enough = [
            (tokens, steps)
            for tokens, steps in self._counts.most_common(_MOST_SIZES)
            if steps >= FEWEST_STEPS
        ]
        return tuple(
            TimedSteps(tokens, statistics.median(self._later[tokens]), steps)
            for tokens, steps in sorted(enough)
        )

    def seconds_left(self) -> float | None:
        """Return how long the remaining steps will take; None before the first step."""
        if self._newest is None or not self._all:
            return None
        if not self._are_sizes_known:
            steps = self._newest.total_steps - self._newest.step
            return max(steps, 0) * statistics.fmean(self._all)
        times = StepTimes().corrected({self._kind: self._points()})
        return sum(
            steps * samples * times.seconds(self._kind, tokens)
            for (samples, tokens), steps in self._ahead(self._newest).items()
        )

    def _points(self) -> Mapping[int, float]:
        medians = {tokens: statistics.median(its) for tokens, its in self._later.items()}
        return {**self._first, **medians}

    def _ahead(self, newest: StepDone) -> Mapping[StepSize, float]:
        """Return how many steps of each size remain: the rest of this epoch, and whole epochs.

        If the attempt began in the middle of this epoch, which sizes came before is unknown; they
        are assumed to be like the others.
        """
        whole = sum(self._epoch_steps.values())
        left = max(newest.total_steps - newest.step, 0)
        rest = min(max(newest.epoch * whole - newest.step, 0), left)
        epochs = (left - rest) / whole
        open_steps = {
            size: max(steps - self._done[size], 0) for size, steps in self._epoch_steps.items()
        }
        share = rest / max(sum(open_steps.values()), 1)
        return {
            size: steps * epochs + open_steps[size] * share
            for size, steps in self._epoch_steps.items()
        }
