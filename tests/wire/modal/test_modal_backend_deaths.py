"""A call is worked on once even if the process that submits or starts it dies."""

import modal
import pytest

from tests.wire.modal.stages import Stages
from training.backends.modal.backend import ModalBackend
from training.backends.modal.call_records import CallRecords, QueueEntry
from training.ports import CallState, CallStatus

QUEUED, RUNNING, ENDED, GONE = CallStatus


class KilledError(BaseException):
    """The process that submits is killed."""


class KilledAfterSpawning(CallRecords):
    """Records of a process that dies before it registers the function it spawned."""

    def register(self, name: str, call_id: str) -> bool:
        raise KilledError


class KilledBeforeTheLineIsNoted(CallRecords):
    """Records of a process that dies before it marks a call as started in the queue."""

    def mark_started(self, entry: QueueEntry) -> None:
        raise KilledError


def killed_after_spawning(stages: Stages) -> ModalBackend:
    return stages.backend(records=stages.records_of(KilledAfterSpawning))


def test_a_function_whose_submitter_died_works_and_is_not_spawned_again(stages: Stages) -> None:
    call = stages.call("a")
    stages.tell("a", "finish")
    with pytest.raises(KilledError):
        killed_after_spawning(stages).submit(call)
    (only,) = stages.spawned()
    stages.wait_until_over(only)

    handle = stages.backend().submit(call)

    assert stages.backend().state(handle) == CallState(ENDED)
    assert stages.spawned() == stages.workers(handle) == [only]


def test_a_waiting_call_whose_starter_died_is_not_started_again_and_counts(stages: Stages) -> None:
    full = stages.backend(gpu_limit=0)
    first, second = full.submit(stages.call("a")), full.submit(stages.call("b"))
    stages.tell("a", "wait")
    records = stages.records_of(KilledBeforeTheLineIsNoted)
    with pytest.raises(KilledError):
        stages.backend(gpu_limit=1, records=records).pump()

    backend = stages.backend(gpu_limit=1)
    backend.pump()

    assert len(stages.spawned()) == 1
    assert backend.state(first) == CallState(RUNNING)
    assert backend.state(second) == CallState(QUEUED, position=1)


def test_of_two_functions_spawned_for_one_call_the_registered_one_works(stages: Stages) -> None:
    call = stages.call("a")
    stages.tell("a", "wait")
    with pytest.raises(KilledError):
        killed_after_spawning(stages).submit(call)

    handle = stages.backend().submit(call)

    first, second = stages.spawned()
    stages.tell("a", "finish")
    stages.wait_until_over(first)
    stages.wait_until_over(second)
    assert modal.FunctionCall.from_id(first).get() == "not mine"
    assert stages.workers(handle) == [second]


def test_a_call_cancelled_before_its_function_registers_is_never_worked_on(
    stages: Stages,
) -> None:
    call = stages.call("a")
    stages.tell("a", "wait")
    with pytest.raises(KilledError):
        killed_after_spawning(stages).submit(call)

    stages.backend().cancel(call.name)

    (only,) = stages.spawned()
    stages.tell("a", "finish")
    stages.wait_until_over(only)
    assert modal.FunctionCall.from_id(only).get() == "not mine"
    assert stages.workers(call.name) == []
    assert stages.backend().state(call.name) == CallState(ENDED)
