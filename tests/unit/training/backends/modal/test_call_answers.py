"""How the backend on Modal handles the client's answers, and what it passes to functions."""

import json
from pathlib import Path

import modal
import modal.exception
import pytest
from grpclib.exceptions import StreamTerminatedError

from storage.local.leases import FileLeases
from tests.memory_dict import MemoryDict
from training.backends.modal.backend import ModalBackend
from training.backends.modal.call_records import (
    CallRecords,
    Placement,
    QueueEntry,
    from_plain,
    to_plain,
)
from training.ports import Call, CallStatus, Grant
from training.vocabulary import StageKey

CALL = Call(guild="1", run="a", key=StageKey("train", "high"), attempt=2, device="gpu")


class Answering:
    """A spawned function about which the client always gives the same answer."""

    def __init__(self, answer: BaseException | None) -> None:
        self._answer = answer

    def get(self, timeout: float | None) -> object:
        assert timeout == 0, "it waits"
        if self._answer is not None:
            raise self._answer
        return None


def from_the_function(error: BaseException) -> BaseException:
    """Return an exception as the client raises it when the function itself did."""
    vars(error)["__line_cache__"] = {}
    return error


@pytest.fixture
def records() -> CallRecords:
    return CallRecords(MemoryDict(), MemoryDict())


@pytest.fixture
def backend(records: CallRecords, tmp_path: Path) -> ModalBackend:
    records.register(CALL.name, "fc-1")
    return ModalBackend("app", records, FileLeases(tmp_path), lambda _: Placement("train"))


def answer(monkeypatch: pytest.MonkeyPatch, with_: BaseException | None) -> None:
    def from_id(call_id: str) -> Answering:
        assert call_id == "fc-1"
        return Answering(with_)

    monkeypatch.setattr(modal.FunctionCall, "from_id", from_id)


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (None, CallStatus.ENDED),
        (TimeoutError(), CallStatus.RUNNING),
        (modal.exception.OutputExpiredError(), CallStatus.GONE),
        (modal.exception.NotFoundError("no such call"), CallStatus.GONE),
        (modal.exception.RemoteError(""), CallStatus.ENDED),  # cancelled
        (modal.exception.FunctionTimeoutError("too long"), CallStatus.ENDED),
        (modal.exception.InternalFailure("container died"), CallStatus.ENDED),
        (modal.exception.ExecutionError("cannot be unpickled"), CallStatus.ENDED),
        (ModuleNotFoundError("in the function's container"), CallStatus.ENDED),
        (from_the_function(TimeoutError()), CallStatus.ENDED),
        (from_the_function(KeyboardInterrupt()), CallStatus.ENDED),
        (from_the_function(modal.exception.ServiceError("its own")), CallStatus.ENDED),
    ],
)
def test_a_call_has_the_status_that_the_client_reports(
    backend: ModalBackend,
    monkeypatch: pytest.MonkeyPatch,
    told: BaseException | None,
    status: CallStatus,
) -> None:
    answer(monkeypatch, told)

    assert backend.state(CALL.name).status is status


@pytest.mark.parametrize(
    "told",
    [
        modal.exception.ServiceError("away"),
        modal.exception.AuthError("refused"),
        StreamTerminatedError("connection lost"),
    ],
)
def test_an_unreachable_function_has_an_unknown_status(
    backend: ModalBackend, monkeypatch: pytest.MonkeyPatch, told: Exception
) -> None:
    answer(monkeypatch, told)

    with pytest.raises(ConnectionError, match="did not answer"):
        backend.state(CALL.name)


def test_an_interrupt_while_asking_is_raised_and_not_taken_as_the_functions(
    backend: ModalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        backend.state(CALL.name)


class Untouched(FileLeases):
    """Leases that must not be asked for."""

    def acquire(self, name: str, *, holder: str, attempt: int = 1) -> Grant | None:
        raise AssertionError(f"{holder} asks for {name}")


def test_an_empty_queue_needs_no_lease(records: CallRecords, tmp_path: Path) -> None:
    backend = ModalBackend("app", records, Untouched(tmp_path), lambda _: Placement("train"))
    assert backend.pump() == {}
    records.mark_started(QueueEntry("1/a/train/1", since=1.0))

    assert backend.pump() == {}


@pytest.mark.parametrize("key", [StageKey("prepare"), StageKey("train", "low")])
def test_a_call_reaches_its_function_unchanged(key: StageKey) -> None:
    call = Call(guild="1", run="a", key=key, attempt=3, device="cpu")

    handed = json.loads(json.dumps(to_plain(call)))

    assert from_plain(handed) == call
    assert from_plain({**handed, "priority": "of a later version"}) == call


def test_a_malformed_call_is_refused() -> None:
    with pytest.raises(ValueError, match="attempt"):
        from_plain({**to_plain(CALL), "attempt": "second"})


def test_a_call_needs_no_upload() -> None:
    long = Call(guild="1" * 20, run="r" * 200, key=CALL.key, attempt=10**6, device="gpu")

    assert len(json.dumps(to_plain(long))) < 1024


def test_a_call_recorded_by_another_version_is_unknown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = MemoryDict()
    calls.put(f"call/{CALL.name}", {"version": 9})

    assert CallRecords(calls, MemoryDict()).find(CALL.name) is None
    assert "cannot be read" in caplog.text
