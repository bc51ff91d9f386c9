"""A run in each of the states that its card shows differently."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from tests.unit.bot.messages.run_examples import (
    CACHE,
    FETCH,
    NOW,
    PREPARE,
    START,
    a_spec,
    a_view,
    ended,
    failed,
    saved,
    started,
    submitted,
    succeeded,
    trained,
)
from training.estimates.prices import listed_prices
from training.pipeline.run_view import Progress, RunView
from training.runs import events as ev
from training.runs.events import Event
from training.runs.spec import Promise
from training.runs.training_events import EpochEnded
from training.vocabulary import StageKey

HIGH, LOW = StageKey("train", "high"), StageKey("train", "low")
MERGES = StageKey("merge", "high"), StageKey("merge", "low")
SPEC = a_spec().model_copy(update={"promised": Promise(seconds=11_520, usd=24.9)})
READY = tuple(succeeded(key) for key in (PREPARE, FETCH, CACHE, *MERGES))


def epochs(key: StageKey, number: int, *, diverges: bool = False) -> list[Event]:
    """Return the ends of the first epochs, with a falling loss."""
    means = [0.2 / (1 + n / 8) for n in range(1, number + 1)]
    if diverges:
        means[-1] = 0.9
    return [
        ev.StageEvent(
            at=START, key=key, attempt=1, body=EpochEnded(epoch=n, step=18 * n, loss=mean)
        )
        for n, mean in enumerate(means, start=1)
    ]


def training(*events: Event, silent_seconds: int = 12) -> RunView:
    """Return a run whose experts train."""

    def newest(step: int, pace: float) -> Progress:
        return Progress(
            step=step,
            total_steps=900,
            epoch=step // 18,
            average_loss=0.0712,
            learning_rate=7.9e-5,
            seconds_per_step=pace,
            attempt=1,
            at=NOW - timedelta(seconds=silent_seconds),
        )

    both = (started(HIGH, gpu="H200"), started(LOW, gpu="H100"))
    files = [saved(SPEC, HIGH, 5), saved(SPEC, HIGH, 10), saved(SPEC, LOW, 5)]
    return a_view(
        SPEC,
        *READY,
        *both,
        *epochs(HIGH, 12),
        *epochs(LOW, 9),
        *files,
        *events,
        progress={HIGH: newest(223, 4.6), LOW: newest(170, 5.9)},
        prices=listed_prices(),
    )


def queued() -> RunView:
    return a_view(SPEC, succeeded(PREPARE), submitted(CACHE), positions={CACHE: 2})


def whole(*, diverges: bool = False) -> RunView:
    events = [*trained(SPEC), *epochs(HIGH, 50), *epochs(LOW, 50, diverges=diverges)]
    return a_view(SPEC, *READY, *events, ended(minutes=201))


def broken() -> RunView:
    cause = "Training of the high expert failed: the GPU ran out of memory."
    end = ev.RunFailed(at=NOW, cause=cause, fix="Lower the rank, or take a larger GPU.")
    good = [*epochs(LOW, 50), saved(SPEC, LOW, 50, is_final=True), succeeded(LOW)]
    return a_view(SPEC, *READY, started(HIGH), failed(HIGH, "It is full.", "Less."), *good, end)


def stopped_early() -> RunView:
    asked = ev.CancelRequested(at=NOW, by="7")
    return a_view(
        SPEC,
        *READY,
        started(HIGH),
        *epochs(HIGH, 12),
        saved(SPEC, HIGH, 10),
        asked,
        ev.RunCancelled(at=NOW),
    )


STATES: Mapping[str, Callable[[], RunView]] = {
    "queued": queued,
    "running": training,
    "silent": lambda: training(silent_seconds=260),
    "cancelling": lambda: training(ev.CancelRequested(at=NOW, by="7")),
    "finished": whole,
    "diverged": lambda: whole(diverges=True),
    "failed": broken,
    "cancelled": stopped_early,
}
