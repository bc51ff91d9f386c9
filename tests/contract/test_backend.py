"""What every `Backend` promises."""

import fcntl
from pathlib import Path

import pytest

from training.backends.local_queue import LocalBackend
from training.events import StageKey
from training.ports import Backend, Call, CallStatus


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture(params=["local"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, woken: list[str]) -> Backend:
    assert request.param == "local"
    return LocalBackend(tmp_path / "local", lambda: woken.append("woken"))


def call(run: str = "a", *, attempt: int = 1, device: str = "gpu") -> Call:
    key = StageKey("train", "main")
    return Call(guild="1", run=run, key=key, attempt=attempt, device=device)


def test_the_same_call_twice_has_one_handle(backend: Backend) -> None:
    assert backend.submit(call()) == backend.submit(call())
    assert backend.submit(call()) != backend.submit(call(attempt=2))


def test_calls_stand_in_line_in_the_order_they_came(backend: Backend) -> None:
    handles = [backend.submit(call(run)) for run in ("a", "b", "c")]
    backend.submit(call("d", device="cpu"))

    states = [backend.state(handle) for handle in handles]

    assert [state.status for state in states] == [CallStatus.QUEUED] * 3
    assert [state.position for state in states] == [1, 2, 3]


def test_each_device_has_a_line_of_its_own(backend: Backend) -> None:
    backend.submit(call("a", device="gpu"))
    handle = backend.submit(call("b", device="cpu"))

    assert backend.state(handle).position == 1


def test_a_cancelled_call_leaves_the_line(backend: Backend) -> None:
    first, second = backend.submit(call("a")), backend.submit(call("b"))

    backend.cancel(first)

    assert backend.state(first).status is CallStatus.ENDED
    assert backend.state(second).position == 1


def test_an_unknown_handle_is_gone_and_cancelling_it_is_fine(backend: Backend) -> None:
    backend.cancel("12345")

    assert backend.state("12345").status is CallStatus.GONE


def test_submitting_wakes_who_works_through_the_line(backend: Backend, woken: list[str]) -> None:
    backend.submit(call())

    assert woken


def test_a_running_call_whose_process_is_gone_has_ended(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "local", lambda: None)
    number = int(backend.submit(call()))
    with backend.lock_file(number).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        backend.mark_running(number, pid=2**22 + 1)
        alive = backend.state(str(number)).status

    assert alive is CallStatus.RUNNING
    assert backend.state(str(number)).status is CallStatus.ENDED
