"""How calls run: attempts, ends, containers and GPUs."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import modal
import pytest

from tests.wire.modal.lookup import deployed
from tests.wire.modal.loopback.api import Loopback

APP = """
import asyncio
import os
import subprocess
import time
from pathlib import Path

import modal

app = modal.App("work", image=modal.Image.debian_slim(python_version="3.11"))
marks = modal.Dict.from_name("marks", create_if_missing=True)

@app.function(timeout=60)
def hold(seconds=60):
    print("holding")
    try:
        time.sleep(seconds)
        return os.environ["MODAL_TASK_ID"]
    except BaseException as error:
        print("interrupted by", type(error).__name__)
        raise

@app.function(timeout=60)
async def hold_async(name):
    print("holding")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await marks.put.aio(name, "interrupted")
        raise

@app.function(timeout=60)
def once_held(name):
    if marks.put(name, "first", skip_if_exists=True):
        print("holding")
        time.sleep(60)
    return modal.current_input_id()

@app.function(timeout=60)
def stubborn(name):
    if not marks.put(name, "first", skip_if_exists=True):
        return "second"
    print("holding")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            time.sleep(60)
        except BaseException:
            print("will not go")

@app.function(timeout=1, retries=modal.Retries(max_retries=1, initial_delay=0.0))
def slow():
    time.sleep(60)

@app.function(timeout=60, retries=modal.Retries(max_retries=2, initial_delay=0.0))
def third_time(name):
    marks[name] = marks.get(name, 0) + 1
    if marks[name] < 3:
        raise ValueError("not yet")
    return marks[name]

@app.function(timeout=60, single_use_containers=True)
def container():
    return os.environ["MODAL_TASK_ID"]

@app.function(timeout=60, max_containers=1)
def one_at_a_time():
    time.sleep(0.2)
    return os.environ["MODAL_TASK_ID"]

@app.function(timeout=60)
def parent():
    return container.spawn().object_id

@app.function(timeout=60)
def with_child(name):
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    marks[name] = child.pid
    print("holding")
    time.sleep(60)

@app.function(timeout=60, gpu="H100")
def train(seconds=0.0):
    time.sleep(seconds)

@app.function(timeout=60, gpu=["H100", "A100-80GB"])
def train_anywhere():
    pass
"""


@pytest.fixture(scope="module")
def app(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("app") / "work_app.py"
    path.write_text(APP)
    shared.deploy(path)


@pytest.fixture
def plane(shared: Loopback, app: None) -> Iterator[Loopback]:
    """The shared control plane with the app deployed, and as it was afterwards."""
    yield shared
    shared.settings.__init__()


def of_call(plane: Loopback, call: modal.FunctionCall[object]) -> list[str | None]:
    return [its.outcome for its in plane.journal if its.call_id == call.object_id]


def wait_until_running(plane: Loopback, call: modal.FunctionCall[object]) -> None:
    plane.wait_for(lambda: plane.plane.calls.get(call.object_id).inputs[0].is_running)


def wait_for_line(plane: Loopback, call: modal.FunctionCall[object], line: str) -> None:
    plane.wait_for(lambda: f"{line}\n" in plane.plane.logs.of(call.object_id))


def test_a_synchronous_call_is_cancelled_in_the_middle(plane: Loopback) -> None:
    call = deployed("work", "hold").spawn()
    wait_for_line(plane, call, "holding")

    call.cancel()

    with pytest.raises(modal.exception.RemoteError):
        call.get(timeout=20)
    assert of_call(plane, call) == ["cancelled"]
    wait_for_line(plane, call, "interrupted by InputCancellation")


def test_an_asynchronous_call_can_await_while_it_is_cancelled(plane: Loopback) -> None:
    marks = modal.Dict.from_name("marks")
    call = deployed("work", "hold_async").spawn("async-cancel")
    wait_for_line(plane, call, "holding")

    call.cancel()

    with pytest.raises(modal.exception.RemoteError):
        call.get(timeout=20)
    assert marks["async-cancel"] == "interrupted"


def test_a_cancel_may_take_the_container_along(plane: Loopback) -> None:
    call = deployed("work", "hold").spawn()
    wait_until_running(plane, call)
    (container,) = [its for its in plane.containers("hold") if its.inputs]

    call.cancel(terminate_containers=True)

    with pytest.raises(modal.exception.RemoteError):
        call.get(timeout=20)
    plane.wait_for(lambda: container.state == "ended")
    assert container.exit_code == 137
    assert of_call(plane, call) == ["cancelled"]


def test_a_waiting_call_is_cancelled_without_a_container(plane: Loopback) -> None:
    plane.settings.gpus = 0
    call = deployed("work", "train").spawn()

    call.cancel()

    with pytest.raises(modal.exception.RemoteError):
        call.get(timeout=20)
    plane.wait_for(lambda: not plane.plane.gpus.waiting)
    assert of_call(plane, call) == []


def test_a_call_that_is_too_slow_times_out_as_often_as_it_may_retry(plane: Loopback) -> None:
    call = deployed("work", "slow").spawn()

    with pytest.raises(modal.exception.FunctionTimeoutError):
        call.get(timeout=30)

    assert of_call(plane, call) == ["timeout", "timeout"]


def test_a_failed_input_is_retried_as_its_policy_says(plane: Loopback) -> None:
    call = deployed("work", "third_time").spawn("third")

    assert call.get(timeout=30) == 3
    assert of_call(plane, call) == ["failure", "failure", "success"]


def test_a_single_use_container_takes_one_input(plane: Loopback) -> None:
    container = deployed("work", "container")

    used = [container.remote() for _ in range(2)]

    assert len(set(used)) == 2


def test_no_more_containers_run_than_allowed(plane: Loopback) -> None:
    calls = [deployed("work", "one_at_a_time").spawn() for _ in range(3)]

    used = {call.get(timeout=30) for call in calls}

    assert len(used) == 1
    ids = {call.object_id for call in calls}
    times = [(its.started, its.ended or 0) for its in plane.journal if its.call_id in ids]
    assert all(end <= start for (_, end), (start, _) in pairwise(times))


def test_a_preempted_input_runs_again_as_the_same_input(plane: Loopback) -> None:
    call = deployed("work", "once_held").spawn("preempted")
    wait_for_line(plane, call, "holding")
    (container,) = [its for its in plane.containers("once_held") if its.inputs]

    plane.preempt(container)

    input_id = call.get(timeout=30)
    runs = [its for its in plane.journal if its.call_id == call.object_id]
    assert [its.outcome for its in runs] == ["preempted", "success"]
    assert {its.input_id for its in runs} == {input_id}
    assert len({its.container_id for its in runs}) == 2
    assert {its.retry for its in runs} == {0}


def test_a_preempted_container_that_does_not_go_is_killed(plane: Loopback) -> None:
    plane.settings.preemption_grace_seconds = 0.5
    call = deployed("work", "stubborn").spawn("stubborn")
    wait_for_line(plane, call, "holding")
    (container,) = [its for its in plane.containers("stubborn") if its.inputs]

    plane.preempt(container)

    assert call.get(timeout=30) == "second"
    assert "will not go" in container.text
    assert container.exit_code == 137


def test_a_killed_container_fails_its_input(plane: Loopback) -> None:
    call = deployed("work", "hold").spawn()
    wait_until_running(plane, call)
    (container,) = [its for its in plane.containers("hold") if its.inputs]

    plane.kill(container)

    with pytest.raises(modal.exception.InternalFailure, match=container.id):
        call.get(timeout=20)
    assert of_call(plane, call) == ["killed"]


def test_a_killed_container_leaves_no_process(plane: Loopback) -> None:
    marks = modal.Dict.from_name("marks")
    call = deployed("work", "with_child").spawn("child")
    wait_for_line(plane, call, "holding")
    (container,) = [its for its in plane.containers("with_child") if its.inputs]
    child = Path(f"/proc/{marks['child']}")
    assert child.exists()

    plane.kill(container)
    plane.wait_for(lambda: container.state == "ended")

    assert not child.exists()
    with pytest.raises(modal.exception.InternalFailure):
        call.get(timeout=20)


def test_the_call_graph_knows_states_and_children(plane: Loopback) -> None:
    call = deployed("work", "parent").spawn()
    child_id = call.get(timeout=30)
    modal.FunctionCall.from_id(child_id).get(timeout=30)

    (parent,) = call.get_call_graph()

    assert parent.status.name == "SUCCESS"
    assert [its.function_call_id for its in parent.children] == [child_id]


def test_results_go_after_a_week(plane: Loopback) -> None:
    call = deployed("work", "container").spawn()
    call.get(timeout=30)

    plane.advance(7 * 24 * 60 * 60 + 1)

    with pytest.raises(modal.exception.OutputExpiredError):
        call.get(timeout=0)


def test_a_test_may_expire_results_at_once(plane: Loopback) -> None:
    call = deployed("work", "container").spawn()
    call.get(timeout=30)

    plane.expire_results()

    with pytest.raises(modal.exception.OutputExpiredError):
        call.get(timeout=0)


def test_a_poll_ends_with_its_time(plane: Loopback) -> None:
    call = deployed("work", "hold").spawn(1.0)
    start = time.monotonic()

    with pytest.raises(TimeoutError):
        call.get(timeout=0.2)

    assert 0.2 <= time.monotonic() - start < 1.0
    assert call.get(timeout=20)


def test_a_cold_start_takes_its_time(plane: Loopback) -> None:
    plane.settings.cold_start_seconds = 0.5
    start = time.monotonic()

    deployed("work", "container").remote()

    assert time.monotonic() - start >= 0.5


def test_a_call_waits_for_a_gpu_and_who_held_it_is_known(plane: Loopback) -> None:
    plane.settings.gpus = 1
    plane.settings.idle_seconds = 0.0
    before = len(plane.gpu_log)
    train = deployed("work", "train")

    calls = [train.with_options(timeout=30).spawn(0.2), train.spawn(0.2)]
    for call in calls:
        call.get(timeout=30)
    plane.wait_for(lambda: not plane.plane.gpus.held())

    first, second = plane.gpu_log[before:]
    assert (first.gpu, first.gpu_type, first.function) == (0, "H100", "train")
    assert first.released is not None
    assert second.taken >= first.released


def test_work_without_a_gpu_does_not_wait_for_one(plane: Loopback) -> None:
    plane.settings.gpus = 0
    before = len(plane.gpu_log)

    deployed("work", "container").remote()

    assert len(plane.gpu_log) == before


def test_the_next_gpu_type_is_taken_when_the_first_has_no_capacity(plane: Loopback) -> None:
    plane.settings.unavailable_gpus = {"H100"}
    before = len(plane.gpu_log)

    deployed("work", "train_anywhere").remote()

    assert [hold.gpu_type for hold in plane.gpu_log[before:]] == ["A100-80GB"]
