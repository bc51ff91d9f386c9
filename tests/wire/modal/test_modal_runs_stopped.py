"""Runs on Modal that people cancel: the flag first, then a kill; resumed later."""

import psutil
import pytest

from tests.wire.modal.installation import GUILD, REQUESTER, Installation
from tests.wire.modal.invariants import check, saved_steps
from tests.wire.modal.loopback.container import Container
from training.pipeline.run_view import metrics
from training.runs.state import RunStatus
from training.vocabulary import StageKey

pytestmark = pytest.mark.slow
TRAIN = StageKey("train", "main")


def start_training(installation: Installation) -> tuple[str, Container]:
    """Start a run, and wait until its training has saved its state and is one step further."""
    run = installation.start(held="training", epochs="4")
    installation.until(run, lambda _: saved_steps(installation, run, 1))
    return run, installation.worker(run, TRAIN)


def cancel(installation: Installation, run: str, container: Container) -> None:
    """Cancel a run, and wait until its container has given back its GPU: no tick passes."""
    installation.cancel(run)
    gpus = installation.loopback.plane.gpus
    installation.loopback.wait_for(
        lambda: all(hold.container_id != container.id for hold in gpus.held())
    )


def check_cancelled(installation: Installation, run: str) -> None:
    """Check that a run was cancelled and that what it had saved is there."""
    found = installation.finish(run)
    assert found.status is RunStatus.CANCELLED
    assert list(installation.checkpoints(run).glob("*-state/training_state.json"))
    check(installation, run)


def suspend(container: Container, *words: str) -> None:
    """Suspend the processes of a container whose command line contains all the words."""
    assert container.process is not None
    found = psutil.Process(container.process.pid).children(recursive=True)
    hanging = [its for its in found if all(word in " ".join(its.cmdline()) for word in words)]
    assert hanging
    for process in hanging:
        process.suspend()


def test_a_cancelled_training_saves_its_state_and_is_resumed_from_there(
    installation: Installation,
) -> None:
    run, container = start_training(installation)
    before = max(saved_steps(installation, run, 1))

    cancel(installation, run, container)
    old = installation.finish(run)
    installation.hurry()
    spec = installation.runs.resume(run, REQUESTER)
    new = installation.finish(spec.name)

    assert old.status is RunStatus.CANCELLED
    saved = max(saved_steps(installation, run, 1))
    assert saved == before + 1
    assert new.status is RunStatus.SUCCEEDED
    steps = [metric.step for metric in metrics(installation.parts.runtime, spec, "main")]
    assert steps == list(range(saved + 1, 4 * spec.steps_per_epoch + 1))
    assert installation.run(run) == old
    check(installation, run, spec.name)


def test_a_trainer_that_hangs_is_killed_and_what_it_had_saved_stays(
    installation: Installation,
) -> None:
    run, container = start_training(installation)
    suspend(container, "wan_train_network.py")

    cancel(installation, run, container)

    check_cancelled(installation, run)


def test_a_container_that_hangs_is_killed_without_a_tick(installation: Installation) -> None:
    run, container = start_training(installation)
    suspend(container)

    cancel(installation, run, container)

    check_cancelled(installation, run)


@pytest.mark.parametrize(
    ("hangs", "cold_start_seconds", "needed"),
    [pytest.param(False, 600.0, 0, id="works"), pytest.param(True, 12.0, 1, id="hangs")],
)
def test_containers_that_start_slowly_do_not_delay_a_cancel(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    *,
    hangs: bool,
    cold_start_seconds: float,
    needed: int,
) -> None:
    run, container = start_training(installation)
    if hangs:
        suspend(container)
    settings, containers = installation.loopback.settings, installation.loopback.containers
    # No container waits for the request, and the next one takes its time to come.
    for waiting in [its for its in containers("advance") if not its.inputs]:
        installation.loopback.kill(waiting)
    monkeypatch.setattr(settings, "cold_start_seconds", cold_start_seconds)
    before = containers(ended=True)

    cancel(installation, run, container)

    new = [its for its in containers(ended=True) if its not in before and its.process]
    assert len(new) == needed, "the GPU was free only after other containers had started"
    settings.cold_start_seconds = 0.0
    check_cancelled(installation, run)


def test_a_run_that_is_cancelled_at_once_holds_no_gpu(installation: Installation) -> None:
    held = len(installation.loopback.gpu_log)
    run = installation.start()

    installation.cancel(run)
    found = installation.finish(run)

    assert found.status is RunStatus.CANCELLED
    assert len(installation.loopback.gpu_log) == held
    check(installation, run)
    assert run not in [name for guild, name in installation.open_runs() if guild == GUILD]
