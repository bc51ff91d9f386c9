"""What Modal's service does to whole runs: each ends with the checkpoints of an undisturbed one."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.installation import Installation, slow_steps
from tests.wire.modal.invariants import check
from tests.wire.modal.loopback import workspace
from tests.wire.modal.loopback.api import CommandError
from tests.wire.modal.loopback.dicts import ENTRY_SECONDS
from tests.wire.modal.loopback.rpc import Caller, Listener
from training.runs.state import RunStatus, StageStatus
from training.vocabulary import StageKey

pytestmark = pytest.mark.slow
Fault = Callable[[Installation], AbstractContextManager[None]]
PULL_SECONDS = 3.0
OTHER_BUILDER = "2026.10"  # a newer Debian, and the newest Python 3.11
# The third and the next three requests for a container; each comes from a tick once one is refused.
STARTS_REFUSED = range(3, 7)


@contextmanager
def too_many_layers(installation: Installation) -> Generator[None]:
    loopback = installation.loopback
    names = [installation.deployment.volume(area) for area in installation.deployment.areas]
    before = sum(map(loopback.refused_writes, names))
    for name in names:
        loopback.set_volume_layers(name, 3, seconds=4.0)
    try:
        yield
    finally:
        for name in names:
            loopback.set_volume_layers(name, None)
    assert sum(map(loopback.refused_writes, names)) > before


@contextmanager
def refused_transfers(installation: Installation) -> Generator[None]:
    """Refuse eight transfers in a row of every 20, which is more than the client tries."""
    asked = Counter[str]()

    def refuse(method: str) -> int | None:
        asked[method] += 1
        return 503 if asked.total() % 20 in range(8) else None

    with _set(installation, refuse_transfer=refuse):
        yield
    assert asked["GET"] >= 40


@contextmanager
def busy_dicts(installation: Installation) -> Generator[None]:
    """Refuse every 15th request to a Dict."""
    asked = 0

    async def refuse(name: str, caller: Caller) -> None:
        nonlocal asked
        asked += name.startswith("Dict")
        if name.startswith("Dict") and asked % 15 == 0:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "Too many requests.")

    with _added(installation.loopback.plane.router.guards, refuse):
        yield
    assert asked >= 15


@contextmanager
def slow_writes(installation: Installation) -> Generator[None]:
    async def delay(name: str, caller: Caller) -> None:
        if name in ("VolumePutFiles", "VolumeCommit"):
            await asyncio.sleep(0.5)

    with _added(installation.loopback.plane.router.listeners, delay):
        yield


@contextmanager
def open_files(installation: Installation) -> Generator[None]:
    """Commit the mounts all the time, whatever is open or half written."""
    background = installation.loopback.plane.background
    before = background.done
    with _set(installation, background_commit_seconds=0.2):
        yield
    assert background.done >= before + 10


@contextmanager
def slow_first_pull_of_another_builders_images(installation: Installation) -> Generator[None]:
    builders = set[str]()

    def hear(name: str, request: api_pb2.ImageGetOrCreateRequest) -> None:
        if name == "ImageGetOrCreate":
            builders.add(request.builder_version)

    installation.loopback.forget_images()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace, "IMAGE_BUILDER", OTHER_BUILDER)
        patch.setattr(installation.loopback.plane.router, "heard", hear)
        installation.deploy()
    with _set(installation, first_pull_seconds=PULL_SECONDS):
        yield
    assert builders == {OTHER_BUILDER}
    assert max(installation.loopback.pulled(), default=0.0) >= PULL_SECONDS


@contextmanager
def spend_limit_and_expired_results(installation: Installation) -> Generator[None]:
    """Forget all results whenever something starts; for a while, let nothing start."""
    loopback, settings = installation.loopback, installation.loopback.settings
    starts, refused, expired = 0, 0, set[str]()

    def hear(name: str, _request: object) -> None:
        nonlocal starts, refused
        if name != "FunctionMap":
            return
        starts += 1
        is_refused = starts in STARTS_REFUSED
        refused += is_refused
        settings.is_spend_limit_reached = is_refused
        settings.cron_minute_seconds = 1.0 if is_refused else None
        loopback.plane.calls.expire()
        expired.update(its.id for its in loopback.plane.calls.calls.values() if its.is_expired)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loopback.plane.router, "heard", hear)
        yield
    assert refused == len(STARTS_REFUSED)
    assert len(expired) > len(STARTS_REFUSED)


@contextmanager
def no_gpu_of_the_first_choice(installation: Installation) -> Generator[None]:
    before = len(installation.loopback.gpu_log)
    with _set(installation, unavailable_gpus={"A10"}):
        yield
    assert {hold.gpu_type for hold in installation.loopback.gpu_log[before:]} == {"L4"}


@contextmanager
def _set(installation: Installation, **values: object) -> Generator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setattr(installation.loopback.settings, name, value)
        yield


@contextmanager
def _added(listeners: list[Listener], listen: Listener) -> Generator[None]:
    listeners.append(listen)
    try:
        yield
    finally:
        listeners.remove(listen)


@pytest.fixture(scope="module")
def undisturbed(deployed: Installation) -> Mapping[str, str]:
    """The tensors of a run's checkpoints; the runs after it find weights and caches."""
    return tensors(deployed, deployed.finish(deployed.start(name="calm")).spec.name)


def tensors(installation: Installation, run: str) -> dict[str, str]:
    """Return the hash of each checkpoint's tensors, without the metadata that names the run."""
    found: dict[str, str] = {}
    for checkpoint in installation.run(run).expert("main").checkpoints:
        path = installation.checkpoints(run) / checkpoint.file.rpartition("/")[2]
        data = path.read_bytes()
        header_bytes = int.from_bytes(data[:8], "little")
        found[str(checkpoint.epoch)] = hashlib.sha256(data[8 + header_bytes :]).hexdigest()
    return found


@pytest.mark.parametrize(
    "fault",
    [
        too_many_layers,
        refused_transfers,
        busy_dicts,
        open_files,
        slow_first_pull_of_another_builders_images,
        spend_limit_and_expired_results,
        no_gpu_of_the_first_choice,
        slow_writes,
    ],
)
def test_a_run_with_this_fault_ends_with_the_same_checkpoints(
    installation: Installation, undisturbed: Mapping[str, str], fault: Fault
) -> None:
    with fault(installation):
        run = installation.start(name=fault.__name__.replace("_", "-"), env=slow_steps(0.2))
        found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    assert tensors(installation, run) == undisturbed
    assert {stage.attempt for stage in found.stages.values()} == {1}
    check(installation, run)


def test_a_run_without_money_for_over_7_days_waits_and_ends_with_the_same_checkpoints(
    installation: Installation, undisturbed: Mapping[str, str]
) -> None:
    settings, train = installation.loopback.settings, StageKey("train", "main")
    run = installation.start(name="a-week-later", held="training")
    installation.until(run, lambda run: run.stage(train).status is StageStatus.RUNNING)
    settings.is_spend_limit_reached = True
    with pytest.raises(CommandError, match="spend limit"):
        installation.deploy()
    installation.hurry()
    installation.until(run, lambda run: run.stage(train).status is StageStatus.SUCCEEDED)
    installation.settle()

    installation.loopback.advance(ENTRY_SECONDS + 1)
    kept = installation.loopback.call(installation.loopback.plane.dicts.count)
    installation.tick()
    installation.settle()
    waiting = installation.view(run)
    settings.is_spend_limit_reached = False
    installation.tick()
    found = installation.finish(run)

    assert kept == 0
    assert not waiting.run.status.is_final
    assert "spend limit" in (waiting.obstacle or "")
    assert found.status is RunStatus.SUCCEEDED
    assert tensors(installation, run) == undisturbed
    assert {stage.attempt for stage in found.stages.values()} == {1}
    check(installation, run)
