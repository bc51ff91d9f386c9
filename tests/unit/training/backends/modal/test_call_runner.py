"""A call of a stage on Modal: one function call does the work, and it ends in time."""

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from training.backends.modal import call_runner
from training.backends.modal.call_runner import run_call
from training.ports import Call
from training.runs.state import StageStatus
from training.vocabulary import StageKey

CALL = Call(guild="1", run="a", key=StageKey("train", "main"), attempt=1, device="gpu")
Work = Callable[[threading.Event], StageStatus | None]


class Register:
    """Knows one function call, and whether it is to stop."""

    def __init__(self, *, owner: str = "fc-1", is_stopped: bool = False) -> None:
        self.owner, self.is_stopped = owner, is_stopped

    def register(self, name: str, call_id: str) -> bool:
        assert name == CALL.name
        return call_id == self.owner

    def stop_requested(self, name: str) -> bool:
        return self.is_stopped


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_runner, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(call_runner, "_LOOK_SECONDS", 0.02)


def until_stopped(stopping: threading.Event) -> StageStatus:
    assert stopping.wait(10), "nobody asked it to stop"
    return StageStatus.INTERRUPTED


def test_a_call_that_another_does_does_nothing() -> None:
    worked: list[int] = []

    def work(_: threading.Event) -> StageStatus:
        worked.append(1)
        return StageStatus.SUCCEEDED

    assert run_call(CALL, "fc-2", Register(), work) == "in other hands"
    assert not worked


def test_how_the_work_ended_is_returned() -> None:
    assert run_call(CALL, "fc-1", Register(), lambda _: StageStatus.SUCCEEDED) == "succeeded"


def test_a_call_that_is_asked_to_stop_stops() -> None:
    assert run_call(CALL, "fc-1", Register(is_stopped=True), until_stopped) == "interrupted"


def test_work_goes_on_while_nobody_can_say_whether_it_is_to_stop() -> None:
    asked = threading.Event()

    class Unreachable(Register):
        def stop_requested(self, name: str) -> bool:
            asked.set()
            raise ConnectionError

    def work(stopping: threading.Event) -> StageStatus:
        assert asked.wait(10)
        return StageStatus.INTERRUPTED if stopping.wait(0.2) else StageStatus.SUCCEEDED

    assert run_call(CALL, "fc-1", Unreachable(), work) == "succeeded"


def test_a_training_stops_before_modal_would_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_runner, "SOFT_DEADLINE_SECONDS", 0.1)

    assert run_call(CALL, "fc-1", Register(), until_stopped) == "interrupted"


def test_a_preempted_call_lets_the_work_save_and_passes_the_preemption_on() -> None:
    saved: list[StageStatus] = []

    class Preempting(Register):
        def stop_requested(self, name: str) -> bool:
            raise KeyboardInterrupt  # as Modal raises it in the main thread

    def work(stopping: threading.Event) -> StageStatus:
        saved.append(until_stopped(stopping))
        return saved[0]

    with pytest.raises(KeyboardInterrupt):
        run_call(CALL, "fc-1", Preempting(), work)
    assert saved == [StageStatus.INTERRUPTED]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Raise at an interruption, also where a shell made this process ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_signal_that_interrupts_the_waiting_leaves_the_work_its_time_to_save() -> None:
    saved: list[StageStatus] = []

    def work(stopping: threading.Event) -> StageStatus:
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping.wait(10)
        threading.Event().wait(0.2)  # saving takes a moment
        saved.append(StageStatus.INTERRUPTED)
        return saved[0]

    with pytest.raises(KeyboardInterrupt):
        run_call(CALL, "fc-1", Register(), work)
    assert saved == [StageStatus.INTERRUPTED]


def test_work_that_does_not_stop_when_it_is_asked_to_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_runner, "STOP_SECONDS", 0.1)
    released = threading.Event()

    def work(_: threading.Event) -> StageStatus:
        released.wait(10)
        return StageStatus.SUCCEEDED

    assert run_call(CALL, "fc-1", Register(is_stopped=True), work) == "left behind"
    released.set()


def test_a_bug_in_the_work_is_raised_where_modal_sees_it() -> None:
    def work(_: threading.Event) -> StageStatus:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_call(CALL, "fc-1", Register(), work)


def test_work_that_does_not_end_is_left_behind_after_the_grace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_runner, "GRACE_SECONDS", 0.1)
    released = threading.Event()

    class Preempting(Register):
        def stop_requested(self, name: str) -> bool:
            raise KeyboardInterrupt

    def work(_: threading.Event) -> StageStatus:
        released.wait(10)
        return StageStatus.SUCCEEDED

    with pytest.raises(KeyboardInterrupt):
        run_call(CALL, "fc-1", Preempting(), work)
    released.set()
