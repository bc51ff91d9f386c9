"""What one container is told of a call while another one starts it."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from storage.modal.leases import ModalLeases
from tests.memory_dict import MemoryDict
from training.backends.modal import backend as backend_module
from training.backends.modal.backend import ModalBackend
from training.backends.modal.call_records import CallRecords, Placement
from training.ports import Call, CallStatus
from training.vocabulary import StageKey

TRAIN = StageKey("train", "high")


class Interrupted(MemoryDict):
    """A Dict in which something happens just after one look at it."""

    def __init__(self) -> None:
        super().__init__()
        self.after_a_look: Callable[[], object] | None = None

    def get(self, key: str) -> object:
        found = super().get(key)
        if self.after_a_look is not None and key.startswith("spawned/"):
            happens, self.after_a_look = self.after_a_look, None
            happens()
        return found


def spawn(_placed: object) -> SimpleNamespace:
    return SimpleNamespace(object_id="fc-1")


def running(_call_id: str) -> CallStatus:
    return CallStatus.RUNNING


def test_a_call_that_is_started_between_two_looks_is_not_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, line = Interrupted(), MemoryDict()
    records = CallRecords(calls, line)
    leases = ModalLeases(MemoryDict())
    placed = Placement("train", "H100")
    backend = ModalBackend("app", records, leases, lambda _: placed, gpu_limit=1)
    monkeypatch.setattr(backend, "_spawn", spawn)
    monkeypatch.setattr(backend_module, "_status", running)
    call = Call(guild="1", run="mine", key=TRAIN, attempt=1, device="gpu", gpu=None)
    records.add(call, placed)
    records.enter(call.name, 0.0)
    waiting = backend.state(call.name)
    calls.after_a_look = backend.pump

    state = backend.state(call.name)

    assert waiting.status is CallStatus.QUEUED
    assert state.status is CallStatus.RUNNING
