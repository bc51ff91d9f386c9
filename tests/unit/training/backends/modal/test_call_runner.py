"""A call of a stage on Modal: one function call does the work, and it ends in time."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from training.backends.modal.call_runner import CallTimes, run_call
from training.ports import Call
from training.runs.state import StageStatus
from training.vocabulary import StageKey

CALL = Call(guild="1", run="a", key=StageKey("train", "main"), attempt=1, device="gpu")
Work = Callable[[threading.Event], StageStatus | None]
QUICK = CallTimes(look=0.02, watch=0.05)


class Register:
    """Knows one function call, and whether it should stop."""

    def __init__(self, *, owner: str = "fc-1", is_stopped: bool = False) -> None:
        self.owner, self.is_stopped = owner, is_stopped

    def register(self, name: str, call_id: str) -> bool:
        assert name == CALL.name
        return call_id == self.owner

    def stop_requested(self, name: str) -> bool:
        return self.is_stopped


def until_stopped(stopping: threading.Event) -> StageStatus:
    assert stopping.wait(10), "nobody asked it to stop"
    return StageStatus.INTERRUPTED


def test_a_call_that_another_function_does_is_not_repeated() -> None:
    worked: list[int] = []

    def work(_: threading.Event) -> StageStatus:
        worked.append(1)
        return StageStatus.SUCCEEDED

    assert run_call(CALL, "fc-2", Register(), work, QUICK) == "taken by another"
    assert not worked


def test_the_outcome_of_the_work_is_returned() -> None:
    assert run_call(CALL, "fc-1", Register(), lambda _: StageStatus.SUCCEEDED, QUICK) == "succeeded"


def test_a_call_that_is_asked_to_stop_stops() -> None:
    assert run_call(CALL, "fc-1", Register(is_stopped=True), until_stopped, QUICK) == "interrupted"


def test_work_continues_while_the_stop_request_cannot_be_checked() -> None:
    asked = threading.Event()

    class Unreachable(Register):
        def stop_requested(self, name: str) -> bool:
            asked.set()
            raise ConnectionError

    def work(stopping: threading.Event) -> StageStatus:
        assert asked.wait(10)
        return StageStatus.INTERRUPTED if stopping.wait(0.2) else StageStatus.SUCCEEDED

    assert run_call(CALL, "fc-1", Unreachable(), work, QUICK) == "succeeded"


def test_a_training_stops_before_modal_would_end_it() -> None:

    assert (
        run_call(CALL, "fc-1", Register(), until_stopped, replace(QUICK, deadline=0.1))
        == "interrupted"
    )


def test_a_preempted_call_lets_the_work_save_and_passes_the_preemption_on() -> None:
    saved: list[StageStatus] = []

    class Preempting(Register):
        def stop_requested(self, name: str) -> bool:
            raise KeyboardInterrupt  # as Modal raises it in the main thread

    def work(stopping: threading.Event) -> StageStatus:
        saved.append(until_stopped(stopping))
        return saved[0]

    with pytest.raises(KeyboardInterrupt):
        run_call(CALL, "fc-1", Preempting(), work, QUICK)
    assert saved == [StageStatus.INTERRUPTED]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Raise on SIGINT, even if a shell made this process ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_signal_during_the_wait_leaves_the_work_time_to_save() -> None:
    saved: list[StageStatus] = []

    def work(stopping: threading.Event) -> StageStatus:
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping.wait(10)
        threading.Event().wait(0.2)  # saving takes a moment
        saved.append(StageStatus.INTERRUPTED)
        return saved[0]

    with pytest.raises(KeyboardInterrupt):
        run_call(CALL, "fc-1", Register(), work, QUICK)
    assert saved == [StageStatus.INTERRUPTED]


def test_work_that_ignores_a_stop_request_is_abandoned() -> None:
    released = threading.Event()

    def work(_: threading.Event) -> StageStatus:
        released.wait(10)
        return StageStatus.SUCCEEDED

    assert (
        run_call(CALL, "fc-1", Register(is_stopped=True), work, replace(QUICK, stop=0.1))
        == "abandoned"
    )
    released.set()


def test_a_bug_in_the_work_is_raised_where_modal_sees_it() -> None:
    def work(_: threading.Event) -> StageStatus:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_call(CALL, "fc-1", Register(), work, QUICK)


def test_work_that_does_not_end_is_abandoned_after_the_grace_time() -> None:
    released = threading.Event()

    class Preempting(Register):
        def stop_requested(self, name: str) -> bool:
            raise KeyboardInterrupt

    def work(_: threading.Event) -> StageStatus:
        released.wait(10)
        return StageStatus.SUCCEEDED

    with pytest.raises(KeyboardInterrupt):
        run_call(CALL, "fc-1", Preempting(), work, replace(QUICK, grace=0.1))
    released.set()
