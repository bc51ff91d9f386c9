"""The fold of a run's events."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tests.specs import spec
from training.runs import events as ev
from training.runs.events import Event, StageEvent
from training.runs.state import RunStatus, StageStatus, fold
from training.runs.training_events import CheckpointSaved, EpochEnded
from training.vocabulary import StageKey

AT = datetime(2026, 1, 1, tzinfo=UTC)
TRAIN = StageKey("train", "main")


def submitted(attempt: int) -> StageEvent:
    return ev.StageEvent(
        at=AT, key=TRAIN, attempt=attempt, body=ev.StageSubmitted(handle=str(attempt))
    )


def started(attempt: int) -> StageEvent:
    return ev.StageEvent(at=AT, key=TRAIN, attempt=attempt, body=ev.StageStarted())


def lost(attempt: int) -> StageEvent:
    return ev.StageEvent(at=AT, key=TRAIN, attempt=attempt, body=ev.StageLost())


def succeeded(key: StageKey) -> StageEvent:
    return ev.StageEvent(at=AT, key=key, attempt=1, body=ev.StageSucceeded())


def saved(attempt: int, epoch: int, *, key: StageKey = TRAIN, size_bytes: int = 1) -> StageEvent:
    return ev.StageEvent(
        at=AT,
        key=key,
        attempt=attempt,
        body=CheckpointSaved(
            path=f"checkpoints/main/x-{epoch}.safetensors",
            epoch=epoch,
            step=epoch * 10,
            size_bytes=size_bytes,
            is_final=False,
        ),
    )


def test_a_stored_run_is_queued_until_a_stage_starts() -> None:
    assert fold(spec(), []).status is RunStatus.QUEUED
    assert fold(spec(), [submitted(1)]).status is RunStatus.QUEUED
    assert fold(spec(), [submitted(1), started(1)]).status is RunStatus.RUNNING


def test_the_report_of_publish_wins_in_any_order() -> None:
    published = saved(1, 5, key=StageKey("publish", "main"), size_bytes=9)

    for events in ([saved(1, 5), published], [published, saved(2, 5)]):
        (checkpoint,) = fold(spec("wan21-t2v-14b"), events).expert("main").checkpoints
        assert (checkpoint.size_bytes, checkpoint.is_published) == (9, True)


def test_the_first_final_event_wins() -> None:
    run = fold(spec(), [ev.RunCancelled(at=AT), ev.RunSucceeded(at=AT), started(1)])

    assert run.status is RunStatus.CANCELLED
    assert not run.stages


def test_a_lost_attempt_leaves_the_stage_for_the_next() -> None:
    run = fold(spec(), [submitted(1), started(1), lost(1)])

    assert run.stage(TRAIN).status is StageStatus.INTERRUPTED

    run = fold(spec(), [submitted(1), started(1), lost(1), submitted(2), started(2)])

    assert run.stage(TRAIN).status is StageStatus.RUNNING
    assert run.stage(TRAIN).attempt == 2


def test_a_checkpoint_saved_again_by_a_later_attempt_counts_once() -> None:
    run = fold(spec(), [saved(1, 5), lost(1), saved(2, 5), saved(2, 10)])

    assert [c.epoch for c in run.expert("main").checkpoints] == [5, 10]


def test_progress_is_credited_to_the_attempt_that_made_it() -> None:
    run = fold(spec(), [started(1), lost(1), started(2), saved(2, 5), lost(2), started(3)])

    assert run.stage(TRAIN).progressed_attempt == 2


def test_a_cancellation_after_the_last_step_stops_nothing() -> None:
    asked = ev.CancelRequested(at=AT, by="7")
    training = [submitted(1), started(1), asked]
    pair = [StageKey("train", "high"), StageKey("train", "low")]

    assert fold(spec(), training).is_cancelling
    assert fold(spec(), [started(1), lost(1), asked]).is_cancelling
    trained = fold(spec(), [*training, succeeded(TRAIN)])
    assert (trained.is_trained, trained.is_cancelling) == (True, False)
    half = fold(spec("wan22-t2v-vanilla"), [asked, succeeded(pair[0])])
    assert (half.is_trained, half.is_cancelling) == (False, True)
    both = fold(spec("wan22-t2v-vanilla"), [asked, *map(succeeded, pair)])
    assert not both.is_cancelling


def test_a_checkpoint_tells_how_far_a_run_is_that_ended_no_epoch() -> None:
    resumed = fold(spec(), [started(1), saved(1, 5)]).expert("main")
    ended = EpochEnded(epoch=6, step=60, loss=0.5)
    later = fold(spec(), [saved(1, 5), ev.StageEvent(at=AT, key=TRAIN, attempt=1, body=ended)])
    earlier = fold(spec(), [ev.StageEvent(at=AT, key=TRAIN, attempt=1, body=ended), saved(1, 5)])

    assert (resumed.epoch, resumed.step) == (5, 50)
    for expert in (later.expert("main"), earlier.expert("main")):
        assert (expert.epoch, expert.step, expert.loss) == (6, 60, 0.5)


_STORY: list[Event] = [
    submitted(1),
    started(1),
    saved(1, 5),
    lost(1),
    submitted(2),
    started(2),
    saved(2, 10),
    ev.StageEvent(at=AT, key=TRAIN, attempt=2, body=ev.StageSucceeded()),
]


@given(st.permutations(_STORY))
def test_events_of_several_writers_give_the_same_run_in_any_order(order: list[Event]) -> None:
    expected, found = fold(spec(), _STORY), fold(spec(), order)

    assert found.stage(TRAIN).status is expected.stage(TRAIN).status is StageStatus.SUCCEEDED
    assert found.expert("main").checkpoints == expected.expert("main").checkpoints
    assert found.status is expected.status
