"""How calls run and end: cancels, time-outs, retries, results."""

import modal
import pytest

from tests.wire.modal.lookup import deployed
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.work_app import of_call, wait_for_line, wait_until_running


def test_a_synchronous_call_is_cancelled_in_the_middle(plane: Loopback) -> None:
    call = deployed("work", "hold").spawn()
    wait_for_line(plane, call, "holding")

    call.cancel()

    with pytest.raises(modal.exception.RemoteError):
        call.get()
    assert of_call(plane, call) == ["cancelled"]
    wait_for_line(plane, call, "interrupted by InputCancellation")


def test_an_asynchronous_call_can_await_while_it_is_cancelled(plane: Loopback) -> None:
    marks = modal.Dict.from_name("marks")
    call = deployed("work", "hold_async").spawn("async-cancel")
    wait_for_line(plane, call, "holding")

    call.cancel()

    with pytest.raises(modal.exception.RemoteError):
        call.get()
    assert marks["async-cancel"] == "interrupted"


def test_a_cancel_may_take_the_container_along(plane: Loopback) -> None:
    call = deployed("work", "hold").spawn()
    wait_until_running(plane, call)
    (container,) = [its for its in plane.containers("hold") if its.inputs]

    call.cancel(terminate_containers=True)

    with pytest.raises(modal.exception.RemoteError):
        call.get()
    plane.wait_for(lambda: container.state == "ended")
    assert container.exit_code == 137
    assert of_call(plane, call) == ["cancelled"]


def test_a_waiting_call_is_cancelled_without_a_container(plane: Loopback) -> None:
    plane.settings.gpus = 0
    call = deployed("work", "train").spawn()

    call.cancel()

    with pytest.raises(modal.exception.RemoteError):
        call.get()
    plane.wait_for(lambda: not plane.plane.gpus.waiting)
    assert of_call(plane, call) == []


def test_a_call_that_is_too_slow_times_out_as_often_as_it_may_retry(plane: Loopback) -> None:
    call = deployed("work", "slow").spawn()

    with pytest.raises(modal.exception.FunctionTimeoutError):
        call.get()

    assert of_call(plane, call) == ["timeout", "timeout"]


def test_a_failed_input_is_retried_as_its_policy_says(plane: Loopback) -> None:
    call = deployed("work", "third_time").spawn("third")

    assert call.get() == 3
    assert of_call(plane, call) == ["failure", "failure", "success"]


def test_the_call_graph_knows_states_and_children(plane: Loopback) -> None:
    call = deployed("work", "parent").spawn()
    child_id = call.get()
    modal.FunctionCall.from_id(child_id).get()

    (parent,) = call.get_call_graph()

    assert parent.status.name == "SUCCESS"
    assert [its.function_call_id for its in parent.children] == [child_id]


def test_results_go_after_a_week(plane: Loopback) -> None:
    call = deployed("work", "container").spawn()
    call.get()

    plane.advance(7 * 24 * 60 * 60 + 1)

    with pytest.raises(modal.exception.OutputExpiredError):
        call.get(timeout=0)


def test_a_test_may_expire_results_at_once(plane: Loopback) -> None:
    call = deployed("work", "container").spawn()
    call.get()

    plane.expire_results()

    with pytest.raises(modal.exception.OutputExpiredError):
        call.get(timeout=0)


def test_a_poll_ends_with_its_time(plane: Loopback) -> None:
    plane.settings.gpus = 0
    call = deployed("work", "train").spawn()

    with pytest.raises(TimeoutError):
        call.get(timeout=0.2)

    assert plane.plane.gpus.waiting  # the call goes on waiting
    plane.settings.gpus = 1
    call.get()
