"""Containers and GPUs: how many, how long, and what happens when one is lost."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import modal
import pytest

from tests.wire.modal import work_app
from tests.wire.modal.lookup import deployed
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.work_app import of_call, wait_for_line, wait_until_running


def test_a_single_use_container_takes_one_input(plane: Loopback) -> None:
    container = deployed("work", "container")

    used = [container.remote() for _ in range(2)]

    assert len(set(used)) == 2


def test_no_more_containers_run_than_allowed(plane: Loopback) -> None:
    calls = [deployed("work", "one_at_a_time").spawn() for _ in range(3)]

    used = {call.get() for call in calls}

    assert len(used) == 1
    ids = {call.object_id for call in calls}
    times = [(its.started, its.ended or 0) for its in plane.journal if its.call_id in ids]
    assert all(end <= start for (_, end), (start, _) in pairwise(times))


def test_a_concurrent_container_runs_inputs_together(plane: Loopback) -> None:
    together: Any = modal.Cls.from_name("work", "Together")()

    calls = [together.meet.spawn("left", "right"), together.meet.spawn("right", "left")]

    assert len({call.get() for call in calls}) == 1


def test_a_container_that_cannot_start_fails_its_inputs_with_the_reason(
    plane: Loopback, tmp_path: Path
) -> None:
    app = tmp_path / "broken_app.py"
    app.write_text(
        "import modal\napp = modal.App('broken')\n"
        "if not modal.is_local():\n    import no_such_module\n"
        "@app.function()\ndef work(): pass\n"
    )
    plane.deploy(app)

    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        deployed("broken", "work").remote()

    assert len(plane.containers("work", ended=True)) == 3


def test_a_preempted_input_runs_again_as_the_same_input(plane: Loopback) -> None:
    call = deployed("work", "once_held").spawn("preempted")
    wait_for_line(plane, call, "holding")
    (container,) = [its for its in plane.containers("once_held") if its.inputs]

    plane.preempt(container)

    input_id = call.get()
    runs = [its for its in plane.journal if its.call_id == call.object_id]
    assert [its.outcome for its in runs] == ["preempted", "success"]
    assert {its.input_id for its in runs} == {input_id}
    assert len({its.container_id for its in runs}) == 2
    assert {its.retry for its in runs} == {0}


def test_a_preempted_container_that_does_not_end_is_killed(plane: Loopback) -> None:
    plane.settings.preemption_grace_seconds = 5.0  # to say that it will not go
    call = deployed("work", "stubborn").spawn("stubborn")
    wait_for_line(plane, call, "holding")
    (container,) = [its for its in plane.containers("stubborn") if its.inputs]

    plane.preempt(container)

    assert call.get() == "second"
    assert "will not go" in container.text
    assert container.exit_code == 137


def test_a_killed_container_fails_its_input(plane: Loopback) -> None:
    call = deployed("work", "hold").spawn()
    wait_until_running(plane, call)
    (container,) = [its for its in plane.containers("hold") if its.inputs]

    plane.kill(container)

    with pytest.raises(modal.exception.InternalFailure, match=container.id):
        call.get()
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
        call.get()


def test_a_cold_start_takes_its_time(plane: Loopback) -> None:
    plane.settings.cold_start_seconds = 600.0
    call = deployed("work", "container").spawn()

    living = plane.plane.scheduler.living_all
    plane.wait_for(lambda: any(its.state == "starting" for its in living()))
    (container,) = plane.containers("container")
    assert container.process is None

    plane.settings.cold_start_seconds = 0.0
    assert call.get() == container.id


def test_only_the_first_container_of_an_image_pulls_it(plane: Loopback) -> None:
    plane.forget_images()
    plane.settings.first_pull_seconds = 600.0
    call = deployed("work", "container").spawn()

    living = plane.plane.scheduler.living_all
    plane.wait_for(lambda: any(its.state == "starting" for its in living()))
    plane.settings.first_pull_seconds = 0.0
    first = call.get()
    plane.kill(plane.containers("container")[0])
    plane.wait_for(lambda: not plane.plane.scheduler.living_all())
    plane.settings.first_pull_seconds = 600.0

    assert deployed("work", "container").spawn().get() != first


def test_a_call_waits_for_a_gpu_and_its_holders_are_recorded(plane: Loopback) -> None:
    plane.settings.gpus = 1
    plane.settings.idle_seconds = 0.0
    before = len(plane.gpu_log)
    train = deployed("work", "train")

    calls = [train.with_options(timeout=30).spawn(0.2), train.spawn(0.2)]
    for call in calls:
        call.get()
    plane.wait_for(lambda: not plane.plane.gpus.held())

    first, second = plane.gpu_log[before:]
    assert (first.gpu, first.gpu_type, first.function) == (0, "H100", "train")
    assert first.released is not None
    assert second.taken >= first.released


def test_a_redeploy_gives_waiting_calls_to_the_new_version(plane: Loopback) -> None:
    plane.settings.gpus = 0
    call = deployed("work", "train").spawn()
    plane.wait_for(lambda: plane.plane.gpus.waiting)
    (old,) = plane.containers("train")

    app = plane.plane.apps.get(old.function.app_id)
    path = plane.plane.state.root / "work_app.py"
    path.write_text(work_app.APP)
    plane.deploy(path)
    plane.settings.gpus = 1

    assert app.version == 2
    call.get()
    assert old.state == "ended"
    assert old.process is None


def test_work_without_a_gpu_does_not_wait_for_one(plane: Loopback) -> None:
    plane.settings.gpus = 0
    before = len(plane.gpu_log)

    deployed("work", "container").remote()

    assert len(plane.gpu_log) == before


def test_the_next_gpu_type_is_taken_when_the_first_has_no_capacity(plane: Loopback) -> None:
    plane.settings.unavailable_gpus = {"H100"}
    before = len(plane.gpu_log)

    name = deployed("work", "train_anywhere").remote()

    assert name == "NVIDIA A100-SXM4-80GB"
    assert [hold.gpu_type for hold in plane.gpu_log[before:]] == ["A100-80GB"]


def test_another_gpu_than_asked_for_is_given_unless_the_name_forbids_it(plane: Loopback) -> None:
    plane.settings.upgraded_gpus = {"H100": "H200"}
    before, train = len(plane.gpu_log), deployed("work", "train")

    names = [train.with_options(gpu=gpu, timeout=31).remote() for gpu in ("H100", "H100!")]

    assert names == ["NVIDIA H200", "NVIDIA H100 80GB HBM3"]
    found = [(hold.gpu_type, hold.given) for hold in plane.gpu_log[before:]]
    assert found == [("H100", "H200"), ("H100!", "H100")]
