"""Stages started on the real client's loopback: never two that work, in line, stopped, lost."""

import asyncio
from collections.abc import Callable

import modal
import pytest

from tests.at_once import at_once
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.stages import Stages
from training.backends.modal.backend import STOP_SECONDS
from training.backends.modal.call_records import CallRecords, Placement
from training.errors import BackendError
from training.ports import CallState, CallStatus, Grant, Leases
from training.remedies import Deploy

QUEUED, RUNNING, ENDED, GONE = CallStatus


class LosesTheRace(CallRecords):
    """Records in which somebody else's function is noted in the last moment."""

    def register(self, name: str, call_id: str) -> bool:
        super().register(name, "fc-of-another")
        return super().register(name, call_id)


def test_what_was_spawned_too_late_is_cancelled(stages: Stages) -> None:
    call = stages.call("a")
    stages.tell("a", "wait")

    stages.backend(records=stages.records_of(LosesTheRace)).submit(call)

    (only,) = stages.spawned()
    stages.wait_until_over(only)
    assert stages.workers(call.name) == []


def test_a_call_submitted_by_many_at_once_is_worked_on_once(stages: Stages) -> None:
    call = stages.call("a", device="cpu")

    at_once([lambda: stages.backend().submit(call)] * 3)

    stages.tell("a", "finish")
    for call_id in stages.spawned():
        stages.wait_until_over(call_id)
    assert len(stages.workers(call.name)) == 1


def test_several_who_look_through_the_line_at_once_start_what_fits_once(stages: Stages) -> None:
    full = stages.backend(gpu_limit=0)
    handles = [full.submit(stages.call(run)) for run in ("a", "b", "c")]

    at_once([lambda: stages.backend(gpu_limit=2).pump()] * 3)

    assert len(stages.spawned()) == 2
    states = [stages.backend().state(handle) for handle in handles]
    assert states == [CallState(RUNNING), CallState(RUNNING), CallState(QUEUED, position=1)]


class Visited:
    """Leases that let somebody do something right before one is given back, once."""

    def __init__(self, leases: Leases, visit: Callable[[], object]) -> None:
        self._leases, self._visits = leases, [visit]
        self.acquire, self.renew, self.revoke = leases.acquire, leases.renew, leases.revoke

    def release(self, grant: Grant) -> None:
        while self._visits:
            self._visits.pop()()
        self._leases.release(grant)


def test_a_call_that_comes_while_the_line_is_looked_through_is_seen_to(stages: Stages) -> None:
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


def test_what_a_cancelled_call_leaves_in_line_goes_to_the_next(stages: Stages) -> None:
    full = stages.backend(gpu_limit=0)
    first, second = full.submit(stages.call("a")), full.submit(stages.call("b"))

    stages.backend(gpu_limit=1).cancel(first)

    assert stages.backend().state(second) == CallState(RUNNING)
    assert stages.workers(first) == []


def test_a_stage_that_is_asked_to_stop_ends_by_itself(stages: Stages) -> None:
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


def test_a_gpu_of_ones_own_is_asked_for(stages: Stages, stages_app: Loopback) -> None:
    handle = stages.backend(gpu="L4").submit(stages.call("a"))

    stages.wait_until_it_works(handle)

    assert stages_app.gpu_log[-1].gpu_type == "L4"


def test_a_function_that_is_not_deployed_is_named_with_what_to_do(stages: Stages) -> None:
    backend = stages.backend(place=lambda _: Placement("distill"))

    with pytest.raises(BackendError, match=r"no function distill") as refused:
        backend.submit(stages.call("a"))

    assert refused.value.remedy == Deploy()
    assert backend.state(stages.call("a").name) == CallState(GONE)


def test_an_app_that_is_not_deployed_is_named(stages: Stages) -> None:
    backend = stages.backend(app="nowhere")

    with pytest.raises(BackendError, match="nowhere"):
        backend.submit(stages.call("a", device="cpu"))


def test_what_cannot_be_started_holds_up_nobody_behind_it(
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
