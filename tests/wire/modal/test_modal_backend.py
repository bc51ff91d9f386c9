"""Stages on the loopback of the real client: run once, queued, stopped, lost."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import modal
import pytest

from tests.at_once import at_once
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.dicts import ENTRY_SECONDS
from tests.wire.modal.stages import Stages
from training.backends.modal.backend import STOP_SECONDS
from training.backends.modal.call_records import CallRecords, Placement
from training.errors import BackendError
from training.ports import CallState, CallStatus, Grant, Leases
from training.remedies import Deploy

QUEUED, RUNNING, ENDED, GONE = CallStatus


class LosesTheRace(CallRecords):
    """Records in which another function registers at the last moment."""

    def register(self, name: str, call_id: str) -> bool:
        super().register(name, "fc-of-another")
        return super().register(name, call_id)


def test_a_function_spawned_too_late_is_cancelled(stages: Stages) -> None:
    call = stages.call("a")
    stages.tell("a", "wait")

    stages.backend(records=stages.records_of(LosesTheRace)).submit(call)

    (only,) = stages.spawned()
    stages.wait_until_over(only)
    assert stages.workers(call.name) == []


def test_a_call_submitted_concurrently_is_worked_on_once(stages: Stages) -> None:
    call = stages.call("a", device="cpu")

    at_once([lambda: stages.backend().submit(call)] * 3)

    stages.tell("a", "finish")
    for call_id in stages.spawned():
        stages.wait_until_over(call_id)
    assert len(stages.workers(call.name)) == 1


def test_concurrent_pumps_start_each_queued_call_once(stages: Stages) -> None:
    full = stages.backend(gpu_limit=0)
    handles = [full.submit(stages.call(run)) for run in ("a", "b", "c")]

    at_once([lambda: stages.backend(gpu_limit=2).pump()] * 3)

    assert len(stages.spawned()) == 2
    states = [stages.backend().state(handle) for handle in handles]
    assert states == [CallState(RUNNING), CallState(RUNNING), CallState(QUEUED, position=1)]


class Visited:
    """Leases that run a callback once, right before a release."""

    def __init__(self, leases: Leases, visit: Callable[[], object]) -> None:
        self._leases, self._visits = leases, [visit]
        self.acquire, self.renew, self.revoke = leases.acquire, leases.renew, leases.revoke

    def release(self, grant: Grant) -> None:
        while self._visits:
            self._visits.pop()()
        self._leases.release(grant)


def test_a_call_queued_during_a_pump_is_started(stages: Stages) -> None:
    late = stages.call("b")
    visited = Visited(stages.leases, lambda: stages.backend().submit(late))

    stages.backend(leases=visited).submit(stages.call("a"))

    assert stages.backend().state(late.name) == CallState(RUNNING)


def test_gpu_calls_of_all_functions_share_one_limit(stages: Stages) -> None:
    backend = stages.backend(gpu_limit=2)
    first = backend.submit(stages.call("a", stage="cache"))
    backend.submit(stages.call("b", stage="train"))
    third = backend.submit(stages.call("c", stage="cache"))
    assert backend.state(third) == CallState(QUEUED, position=1)

    stages.finish("a", first)
    backend.pump()

    assert backend.state(third) == CallState(RUNNING)


def test_the_slot_of_a_cancelled_call_goes_to_the_next(stages: Stages) -> None:
    full = stages.backend(gpu_limit=0)
    first, second = full.submit(stages.call("a")), full.submit(stages.call("b"))

    stages.backend(gpu_limit=1).cancel(first)

    assert stages.backend().state(second) == CallState(RUNNING)
    assert stages.workers(first) == []


def test_a_stage_ends_by_itself_when_asked_to_stop(stages: Stages) -> None:
    backend = stages.backend()
    stages.tell("a", "obey")
    handle = backend.submit(stages.call("a"))
    call_id = stages.wait_until_it_works(handle)

    backend.cancel(handle)

    stages.wait_until_over(call_id)
    assert modal.FunctionCall.from_id(call_id).get() == "stopped"
    assert backend.state(handle) == CallState(ENDED)


def test_a_stage_that_does_not_stop_is_killed_with_its_container(stages: Stages) -> None:
    backend = stages.backend()
    handle = backend.submit(stages.call("a"))
    call_id = stages.wait_until_it_works(handle)
    backend.cancel(handle)
    stages.clock.now += STOP_SECONDS - 1
    backend.cancel(handle)
    assert backend.state(handle) == CallState(RUNNING)

    stages.clock.now += 1
    backend.cancel(handle)

    stages.wait_until_over(call_id)
    stages.wait_until_no_gpu_is_held(call_id)
    assert stages.outcomes(call_id) == ["cancelled"]
    assert backend.state(handle) == CallState(ENDED)


@pytest.mark.parametrize("end", ["time out", "exit", "die"])
def test_a_function_that_ends_badly_has_ended(stages: Stages, end: str) -> None:
    backend = stages.backend()
    handle = backend.submit(stages.call("a"))

    stages.finish("a", handle, end)

    assert backend.state(handle) == CallState(ENDED)


def test_a_call_whose_result_has_expired_is_gone(stages: Stages, stages_app: Loopback) -> None:
    backend = stages.backend()
    handle = backend.submit(stages.call("a"))
    stages.finish("a", handle)

    stages_app.expire_results()

    assert backend.state(handle) == CallState(GONE)


def test_calls_that_waited_for_over_7_days_keep_their_place(
    stages: Stages, stages_app: Loopback
) -> None:
    full, runs = stages.backend(gpu_limit=0), ("a", "b", "c")
    calls = [stages.call(run) for run in runs]
    for call in calls[:2]:
        full.submit(call)
    at_first = datetime.fromtimestamp(stages.clock.now, UTC)
    stages_app.advance(ENTRY_SECONDS + 1)
    assert full.state(calls[0].name) == CallState(GONE)
    stages.clock.now += ENTRY_SECONDS
    full.submit(calls[2])

    for call in calls[:2]:
        full.submit(call, since=at_first)

    assert [full.state(call.name).position for call in calls] == [1, 2, 3]
    stages.backend(gpu_limit=1).pump()
    assert full.state(calls[0].name) == CallState(RUNNING)


def test_a_call_that_waits_at_modal_for_over_7_days_still_counts_as_busy(
    stages: Stages, stages_app: Loopback
) -> None:
    backend = stages.backend(gpu_limit=1)
    backend.submit(stages.call("a"))
    second = backend.submit(stages.call("b"))

    for _ in range(8):
        stages_app.advance(ENTRY_SECONDS / 7)
        backend.submit(stages.call("b"), since=datetime.fromtimestamp(stages.clock.now, UTC))

    assert backend.state(second) == CallState(QUEUED, position=1)


def test_a_call_that_waits_at_modal_for_over_7_days_can_be_cancelled(
    stages: Stages, stages_app: Loopback
) -> None:
    backend, call = stages.backend(), stages.call("a")
    backend.submit(call)
    for _ in range(8):
        stages_app.advance(ENTRY_SECONDS / 7)
        assert backend.state(call.name) == CallState(RUNNING)
    assert stages.records.find(call.name) is None

    backend.cancel(call.name)
    stages.clock.now += STOP_SECONDS
    backend.cancel(call.name)

    (only,) = stages.spawned()
    stages.wait_until_over(only)
    assert backend.state(call.name) == CallState(ENDED)


def test_a_chosen_gpu_is_requested(stages: Stages, stages_app: Loopback) -> None:
    handle = stages.backend(gpu="L4").submit(stages.call("a"))

    stages.wait_until_it_works(handle)

    assert stages_app.gpu_log[-1].gpu_type == "L4"


def test_chosen_memory_is_requested(stages: Stages, stages_app: Loopback) -> None:
    backend = stages.backend(place=lambda _: Placement("train", "L4", memory_gib=23))

    stages.wait_until_it_works(backend.submit(stages.call("a")))

    resources = stages_app.containers("train")[-1].definition.resources
    assert (resources.gpu_config.gpu_type, resources.memory_mb) == ("L4", 23 * 1024)


def test_a_missing_function_is_named_with_a_fix(stages: Stages) -> None:
    backend = stages.backend(place=lambda _: Placement("distill"))

    with pytest.raises(BackendError, match=r"no function distill") as refused:
        backend.submit(stages.call("a"))

    assert refused.value.remedy == Deploy(app="stages")
    assert backend.state(stages.call("a").name) == CallState(GONE)


def test_a_missing_app_is_named(stages: Stages) -> None:
    backend = stages.backend(app="nowhere-stages")

    with pytest.raises(BackendError, match="the app nowhere-stages on Modal") as refused:
        backend.submit(stages.call("a", device="cpu"))

    assert refused.value.remedy == Deploy(app="nowhere")


def test_a_call_that_cannot_start_does_not_block_the_others(
    stages: Stages, caplog: pytest.LogCaptureFixture
) -> None:
    removed = stages.backend(gpu_limit=0, place=lambda _: Placement("distill"))
    first = removed.submit(stages.call("a"))

    second = stages.backend().submit(stages.call("b"))

    assert stages.backend().state(first) == CallState(GONE)
    assert stages.backend().state(second) == CallState(RUNNING)
    assert "no function distill" in caplog.text


async def test_a_thread_beside_an_event_loop_may_use_all_of_it(stages: Stages) -> None:
    backend, call = stages.backend(), stages.call("a")

    handle = await asyncio.to_thread(backend.submit, call)
    state = await asyncio.to_thread(backend.state, handle)
    await asyncio.to_thread(backend.cancel, handle)

    assert state == CallState(RUNNING)
    assert await asyncio.to_thread(stages.records.stop_requested, handle)
