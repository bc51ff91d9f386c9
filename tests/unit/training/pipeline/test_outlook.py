"""When a waiting run should get a GPU, from what the runs before it will take."""

from datetime import UTC, datetime, timedelta

from tests import specs
from training.pipeline.outlook import starts_at
from training.pipeline.run_view import Progress, RunView, stage_keys
from training.runs import events as ev
from training.runs.spec import Promise
from training.runs.state import fold
from training.vocabulary import StageKey

NOW = datetime(2026, 8, 1, tzinfo=UTC)
TRAIN = StageKey("train", "main")


def training(left_seconds: float | None) -> RunView:
    """Return a run that trains for so long; None if its speed is not known yet."""
    newest = Progress(step=0, total_steps=1, seconds_per_step=left_seconds, attempt=1)
    return _view({TRAIN: newest}, {}, ev.StageStarted(), None)


def waiting(place: int, takes_seconds: float | None = None) -> RunView:
    return _view({}, {TRAIN: place}, ev.StageSubmitted(handle="1"), takes_seconds)


def _view(
    progress: dict[StageKey, Progress],
    positions: dict[StageKey, int],
    body: ev.StageBody,
    takes_seconds: float | None,
) -> RunView:
    spec = specs.spec("wan21-t2v-1-3b")
    if takes_seconds is not None:
        spec = spec.model_copy(update={"promised": Promise(seconds=takes_seconds)})
    run = fold(spec, [ev.StageEvent(at=NOW, key=TRAIN, attempt=1, body=body)])
    return RunView(run=run, keys=stage_keys(spec), progress=progress, positions=positions)


def seconds_until(view: RunView, *others: RunView, slots: int = 1) -> float | None:
    found = starts_at(view, [view, *others], slots, NOW)
    return None if found is None else (found - NOW) / timedelta(seconds=1)


def test_the_next_run_starts_when_the_running_one_ends() -> None:
    assert seconds_until(waiting(1), training(600)) == 600


def test_runs_ahead_are_counted_as_long_as_their_plans_said() -> None:
    ahead = waiting(1, 1000), waiting(2, 100)

    assert seconds_until(waiting(3), training(600), *ahead) == 1700
    assert seconds_until(waiting(3), training(600), training(50), *ahead, slots=2) == 700


def test_a_run_that_does_not_wait_has_no_start() -> None:
    assert seconds_until(training(600)) is None


def test_nothing_is_said_while_something_ahead_is_unknown() -> None:
    assert seconds_until(waiting(1), training(None)) is None
    assert seconds_until(waiting(2), training(600), waiting(1)) is None
    assert seconds_until(waiting(2), training(600)) is None
    assert seconds_until(waiting(1)) is None
