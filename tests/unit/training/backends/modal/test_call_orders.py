"""What one container learns about a call while another one starts it."""

from collections.abc import Callable

import modal
import pytest

from storage.modal.leases import ModalLeases
from tests.memory_dict import MemoryDict
from training.backends.modal.backend import ModalBackend
from training.backends.modal.call_records import CallRecords, Placement
from training.ports import Call, CallStatus
from training.vocabulary import StageKey

TRAIN = StageKey("train", "high")


class Interrupted(MemoryDict):
    """A Dict in which something happens just after one read."""

    def __init__(self) -> None:
        super().__init__()
        self.after_a_look: Callable[[], object] | None = None

    def get(self, key: str) -> object:
        found = super().get(key)
        if self.after_a_look is not None and key.startswith("spawned/"):
            happens, self.after_a_look = self.after_a_look, None
            happens()
        return found


class Running:
    """A spawned function that never ends."""

    object_id = "fc-1"

    def spawn(self, _call: object) -> "Running":
        return self

    def get(self, timeout: float | None) -> object:
        raise TimeoutError


def found(*_names: str) -> Running:
    return Running()


def test_a_call_started_between_two_look_ups_is_not_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, line = Interrupted(), MemoryDict()
    records = CallRecords(calls, line)
    leases = ModalLeases(MemoryDict())
    placed = Placement("train")
    backend = ModalBackend("app", records, leases, lambda _: placed, gpu_limit=1)
    monkeypatch.setattr(modal.Function, "from_name", found)
    monkeypatch.setattr(modal.FunctionCall, "from_id", found)
    call = Call(guild="1", run="mine", key=TRAIN, attempt=1, device="gpu", gpu=None)
    records.add(call, placed)
    records.enter(call.name, 0.0)
    waiting = backend.state(call.name)
    calls.after_a_look = backend.pump

    state = backend.state(call.name)

    assert waiting.status is CallStatus.QUEUED
    assert state.status is CallStatus.RUNNING
