"""Predicts when a run gets a GPU, when its training ends, and what it will cost in total."""

import heapq
import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from training.estimates.spent import usd_per_second
from training.pipeline.run_view import RunView
from training.runs.state import StageStatus
from training.vocabulary import ExpertName, StageKey, device_of

# A running stage reports progress at least this often, except while it loads a model.
_SILENCE = timedelta(minutes=3)


def seconds_left(view: RunView, name: ExpertName) -> float | None:
    """Return how many more seconds an expert will train, at its measured speed.

    The stage predicts this from the times of its own steps, by size (see `step_clock`).

    Return 0 once it is trained, and None if it is not training or its speed is unknown.
    """
    key = StageKey("train", name)
    stage, newest = view.run.stage(key), view.progress.get(key)
    if stage.status is StageStatus.SUCCEEDED:
        return 0.0
    if stage.status is not StageStatus.RUNNING or newest is None or not newest.seconds_per_step:
        return None
    if newest.attempt not in (None, stage.attempt):
        return None  # measured in an earlier attempt, perhaps on a faster GPU
    seconds = newest.seconds_left
    if seconds is None:  # told by a stage of an earlier version
        seconds = (newest.total_steps - newest.step) * newest.seconds_per_step
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def ends_at(view: RunView, now: datetime) -> datetime | None:
    """Return when the training of the last expert will end; None if that is unknown."""
    left = [seconds_left(view, expert.name) for expert in view.spec.experts]
    known = [seconds for seconds in left if seconds is not None]
    return now + timedelta(seconds=max(known)) if len(known) == len(left) else None


def expected_usd(view: RunView, now: datetime) -> float | None:
    """Return the run's total cost in dollars at its measured speed, or else the promised cost.

    Return None if neither is known, or if GPUs cost nothing.
    """
    promised = view.spec.promised.usd if view.spec.promised is not None else None
    if view.prices is None:
        return promised
    spent = view.spent_usd(now)
    ahead = [_usd_ahead(view, expert.name) for expert in view.spec.experts]
    known = [usd for usd in ahead if usd is not None]
    return spent + sum(known) if spent is not None and len(known) == len(ahead) else promised


def _usd_ahead(view: RunView, name: ExpertName) -> float | None:
    key = StageKey("train", name)
    seconds, gpu = seconds_left(view, name), view.run.stage(key).gpu
    if seconds is None or view.prices is None or gpu is None:
        return None
    rate = usd_per_second(view.spec, key, gpu, view.prices)
    return None if rate is None else seconds * rate


def silence(view: RunView, now: datetime) -> timedelta | None:
    """Return how long a run's running stages have reported nothing.

    Return None if that is under 3 minutes, or if no stage is running.
    """
    sign = view.last_sign_of_life()
    return now - sign if sign is not None and now - sign >= _SILENCE else None


def gpu_place(view: RunView) -> int | None:
    """Return the place of a run's first stage in the GPU queue; None if no stage is waiting."""
    return min(view.gpu_places, default=None)


def starts_at(
    view: RunView, everyone: Iterable[RunView], slots: int, now: datetime
) -> datetime | None:
    """Return when a waiting run should get a GPU; None if it is not waiting or the time is unknown.

    Args:
        view: The run.
        everyone: All open runs; their views may be a few moments old.
        slots: How many stages may hold a GPU at once.
        now: The current time.
    """
    place = gpu_place(view)
    if place is None:
        return None
    busy: list[float] = []
    ahead: list[tuple[int, float]] = []
    for one in everyone:
        busy += _gpu_seconds(one)
        promised = one.spec.promised
        seconds = math.inf if promised is None else promised.seconds
        ahead += [(at, seconds) for at in one.gpu_places if at < place]
    if len(busy) < slots or len(ahead) < place - 1:
        return None  # not every run in the queue has been read yet
    seconds = _free_after(busy, [seconds for _, seconds in sorted(ahead)], slots)
    return now + timedelta(seconds=seconds) if math.isfinite(seconds) else None


def _gpu_seconds(view: RunView) -> Sequence[float]:
    """Return how many seconds each running stage will still hold its GPU; inf if unknown."""
    running = [key for key in view.keys if view.run.stage(key).status is StageStatus.RUNNING]
    found: list[float] = []
    for key in running:
        if device_of(key.stage) == "gpu":
            seconds = seconds_left(view, key.expert) if key.expert is not None else None
            found.append(math.inf if seconds is None else seconds)
    return found


def _free_after(busy: Sequence[float], ahead: Sequence[float], slots: int) -> float:
    """Return the seconds until a GPU is free for the stage that follows `ahead` in the queue.

    Args:
        busy: How long each stage in progress will still hold its GPU, in seconds.
        ahead: For how many seconds each stage ahead of that stage will hold a GPU, in the order of
            the queue.
        slots: How many stages may hold a GPU at once.
    """
    ends = sorted(busy)[:slots]
    heapq.heapify(ends)
    for seconds in ahead:
        heapq.heappush(ends, heapq.heappop(ends) + seconds)
    return ends[0]
