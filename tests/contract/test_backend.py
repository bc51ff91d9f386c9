"""What every `Backend` promises."""

import fcntl
from pathlib import Path

import pytest

from storage.modal.leases import ModalLeases
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.stages import APP, ROOT
from training.backends.local.queue import LocalBackend
from training.backends.modal.backend import ModalBackend
from training.backends.modal.call_records import CallRecords, Placement
from training.ports import Backend, Call, CallStatus
from training.vocabulary import StageKey


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture
def local(tmp_path: Path, woken: list[str]) -> LocalBackend:
    return LocalBackend(tmp_path / "local", lambda: woken.append("woken"))


@pytest.fixture(scope="module")
def app(loopback: Loopback) -> str:
    loopback.deploy(APP, cwd=ROOT)
    return "stages"


@pytest.fixture(params=["local", "modal"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Return a backend that starts no GPU call: it has no worker, or no room."""
    if request.param == "local":
        return request.getfixturevalue("local")
    app, new_dict = request.getfixturevalue("app"), request.getfixturevalue("new_dict")
    records, leases = CallRecords(new_dict(), new_dict()), ModalLeases(new_dict())
    return ModalBackend(app, records, leases, lambda _: Placement("nothing"), gpu_limit=0)


def call(run: str = "a", *, attempt: int = 1, device: str = "gpu") -> Call:
    key = StageKey("train", "main")
    return Call(guild="1", run=run, key=key, attempt=attempt, device=device)


def test_the_same_call_twice_has_one_handle(backend: Backend) -> None:
    assert backend.submit(call()) == backend.submit(call())
    assert backend.submit(call()) != backend.submit(call(attempt=2))


def test_calls_are_queued_in_the_order_they_came(backend: Backend) -> None:
    handles = [backend.submit(call(run)) for run in ("a", "b", "c")]
    backend.submit(call("d", device="cpu"))

    states = [backend.state(handle) for handle in handles]

    assert [state.status for state in states] == [CallStatus.QUEUED] * 3
    assert [state.position for state in states] == [1, 2, 3]


def test_the_line_counts_gpu_calls_only(backend: Backend) -> None:
    backend.submit(call("a", device="cpu"))
    before = backend.gpu_line()

    for run in ("b", "c"):
        backend.submit(call(run))
    backend.cancel(call("b").name)
    after = backend.gpu_line()

    assert (before.running, before.waiting) == (0, 0)
    assert (after.running, after.waiting) == (0, 1)
    assert after.next_place == 2


def test_a_call_that_holds_a_gpu_is_in_the_line_but_does_not_wait(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "local", lambda: None, gpu_slots=2)

    numbers = [int(backend.submit(call(run))) for run in ("a", "b")]
    backend.mark_running(numbers[0], pid=None)
    one = backend.gpu_line()
    backend.mark_running(numbers[1], pid=None)
    both = backend.gpu_line()
    backend.mark_ended(numbers[0])

    assert (one.running, one.waiting, one.next_place) == (1, 1, 2)
    assert (both.running, both.waiting, both.next_place) == (2, 0, 1)
    assert backend.gpu_line().next_place is None


def test_a_cpu_call_waits_for_no_gpu_call(backend: Backend) -> None:
    backend.submit(call("a", device="gpu"))
    handle = backend.submit(call("b", device="cpu"))

    assert backend.state(handle).position in (1, None)


def test_a_cancelled_call_leaves_the_queue(backend: Backend) -> None:
    first, second = backend.submit(call("a")), backend.submit(call("b"))

    backend.cancel(call("a").name)

    assert backend.state(first).status is CallStatus.ENDED
    assert backend.state(second).position == 1


def test_a_cancelled_call_stays_ended_when_it_is_submitted_or_cancelled_again(
    backend: Backend,
) -> None:
    handle = backend.submit(call())
    backend.cancel(call().name)

    assert backend.submit(call()) == handle
    backend.cancel(call().name)

    assert backend.state(handle).status is CallStatus.ENDED


def test_an_unknown_handle_is_gone_and_cancelling_an_unknown_call_is_fine(
    backend: Backend,
) -> None:
    backend.cancel(call().name)

    assert backend.state("12345").status is CallStatus.GONE


def test_submitting_wakes_the_worker(local: LocalBackend, woken: list[str]) -> None:
    local.submit(call())

    assert woken


def test_each_device_of_a_machine_has_its_own_queue(local: LocalBackend) -> None:
    local.submit(call("a", device="gpu"))
    handle = local.submit(call("b", device="cpu"))

    assert local.state(handle).position == 1


def test_a_running_call_whose_process_is_gone_has_ended(local: LocalBackend) -> None:
    number = int(local.submit(call()))
    with local.lock_file(number).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        local.mark_running(number, pid=2**22 + 1)
        alive = local.state(str(number)).status

    assert alive is CallStatus.RUNNING
    assert local.state(str(number)).status is CallStatus.ENDED
