"""One attempt of a stage that a platform starts more than once, or asks to end."""

import sqlite3
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from storage.local.store import FolderStore
from storage.modal.leases import LEASE_SECONDS, ModalLeases
from tests.media import guide_files
from tests.memory_dict import MemoryDict
from tests.pipeline.stages import Stages
from training.backends.modal.backend import STOP_SECONDS
from training.backends.modal.functions import advance_one
from training.pipeline.advance import advance, lease_name
from training.pipeline.runtime import now
from training.pipeline.stage_runner import StageContext, StageFunction, StageResult, run_stage
from training.pipeline.stage_writes import StageInterruptedError
from training.ports import (
    BusyError,
    Call,
    CallState,
    CallStatus,
    GpuLine,
    Grant,
    Leases,
    StoreChanges,
)
from training.runs.event_log import ADVANCE, REQUEST, Writer
from training.runs.events import CancelRequested
from training.runs.spec import RunSpec
from training.runs.state import RunStatus, StageState, StageStatus
from training.vocabulary import StageKey

PREPARE = StageKey("prepare")


@dataclass
class Watched:
    """Leases that record the names asked for."""

    leases: Leases
    asked: list[str] = field(default_factory=list[str])

    def acquire(self, name: str, *, holder: str, attempt: int = 1) -> Grant | None:
        self.asked.append(name)
        return self.leases.acquire(name, holder=holder, attempt=attempt)

    def renew(self, grant: Grant) -> bool:
        return self.leases.renew(grant)

    def release(self, grant: Grant) -> None:
        self.leases.release(grant)

    def revoke(self, name: str, *, attempt: int) -> None:
        self.leases.revoke(name, attempt=attempt)


@dataclass
class Attempt:
    """The first attempt of the first stage of a run."""

    stages: Stages
    spec: RunSpec

    @property
    def call(self) -> Call:
        return Call(guild=self.spec.guild, run=self.spec.name, key=PREPARE, attempt=1, device="cpu")

    @property
    def lease(self) -> str:
        return lease_name(self.spec.guild, self.spec.name, PREPARE)

    @property
    def state(self) -> StageState:
        return self.stages.state(self.spec, PREPARE)

    def run(self, function: StageFunction, leases: Leases | None = None) -> StageStatus | None:
        runtime = self.stages.local.runtime
        runtime = replace(runtime, leases=leases or runtime.leases)
        return run_stage(runtime, self.call, function, threading.Event())


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=2, clips=0))
    return Attempt(stages, stages.begin())


class KilledError(BaseException):
    """The container disappeared in the middle of the work."""


def is_interrupted(_context: StageContext) -> StageResult:
    raise StageInterruptedError("stopped on request")


def is_killed(_context: StageContext) -> StageResult:
    raise KilledError


def must_not_work(_context: StageContext) -> StageResult:
    raise AssertionError("an attempt that is over works again")


def test_a_call_restarted_after_its_end_never_holds_the_lease(
    attempt: Attempt,
) -> None:
    attempt.run(is_interrupted)
    assert attempt.state.attempt == 2  # submitted when the first one ended
    leases = Watched(attempt.stages.local.runtime.leases)

    status = attempt.run(must_not_work, leases)

    assert status is None
    assert attempt.lease not in leases.asked


def test_a_call_restarted_after_a_cut_off_leaves_the_work_to_the_next_attempt(
    attempt: Attempt,
) -> None:
    with pytest.raises(KilledError):
        attempt.run(is_killed)
    assert attempt.state.status is StageStatus.RUNNING
    attempt.stages.local.runtime.leases.revoke(attempt.lease, attempt=1)  # as if it expired

    status = attempt.run(must_not_work)

    assert status is None
    state = attempt.state
    assert (state.attempt, state.status) == (2, StageStatus.SUBMITTED)


def test_nothing_is_written_while_the_lease_of_the_cut_off_attempt_is_held(
    attempt: Attempt,
) -> None:
    with pytest.raises(KilledError):
        attempt.run(is_killed)
    before = attempt.stages.local.runtime.log(attempt.spec.guild, attempt.spec.name).events()

    status = attempt.run(must_not_work)

    assert status is None
    log = attempt.stages.local.runtime.log(attempt.spec.guild, attempt.spec.name)
    assert log.events() == before


class TakenOver(Watched):
    """Leases that another process takes while they are held for long."""

    def renew(self, grant: Grant) -> bool:
        return False


def test_a_process_that_lost_the_runs_lease_writes_nothing_more(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.pipeline.leases.SURE_SECONDS", 0.0)
    runtime, spec = attempt.stages.local.runtime, attempt.spec
    with pytest.raises(KilledError):
        attempt.run(is_killed)
    attempt.stages.local.backend.mark_ended(int(attempt.state.handle))
    before = runtime.log(spec.guild, spec.name).events()

    run = advance(replace(runtime, leases=TakenOver(runtime.leases)), spec.guild, spec.name)

    assert runtime.log(spec.guild, spec.name).events() == before
    assert run.stage(PREPARE).status is StageStatus.RUNNING


@dataclass
class Renewed(Watched):
    """Leases with the test's clock; they record each renewal."""

    renewal: threading.Event = field(default_factory=threading.Event)

    def renew(self, grant: Grant) -> bool:
        is_held = super().renew(grant)
        self.renewal.set()
        return is_held


def test_the_runs_lease_is_kept_while_its_holder_waits_for_the_service(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.pipeline.leases.HEARTBEAT_SECONDS", 0.01)
    runtime, spec, at = attempt.stages.local.runtime, attempt.spec, [1000.0]
    leases = Renewed(ModalLeases(MemoryDict(), clock=lambda: at[0]))
    taken: list[Grant | None] = []

    def wait_for_a_minute(store: FolderStore, changes: StoreChanges) -> None:
        for _ in range(6):
            at[0] += LEASE_SECONDS / 2
            leases.renewal.clear()
            leases.renewal.wait(5.0)
        taken.append(leases.acquire(f"{spec.guild}/{spec.name}", holder="another"))

    attempt.run(is_interrupted)
    attempt.stages.local.backend.mark_ended(int(attempt.state.handle))
    monkeypatch.setattr(FolderStore, "change", wait_for_a_minute)

    advance(replace(runtime, leases=leases), spec.guild, spec.name)

    assert taken
    assert set(taken) == {None}


def test_an_attempt_continues_though_its_submitter_died_before_recording_it(
    attempt: Attempt,
) -> None:
    runtime, spec, handle = attempt.stages.local.runtime, attempt.spec, attempt.state.handle
    with pytest.raises(KilledError):
        attempt.run(is_killed)
    for name in runtime.store.names(spec.keys.events):
        if name.startswith(ADVANCE):
            runtime.store.delete(f"{spec.keys.events}/{name}")
    before = attempt.state

    advance(runtime, spec.guild, spec.name)

    assert (before.status, before.handle) == (StageStatus.RUNNING, "")
    after = attempt.state
    assert after == replace(before, handle=handle, submitted_at=after.submitted_at)


def forget_the_queue(attempt: Attempt) -> None:
    with sqlite3.connect(attempt.stages.local.home / "local/queue.sqlite") as database:
        database.execute("delete from calls")
    database.close()


def test_an_attempt_forgotten_by_the_backend_before_its_start_is_queued_again(
    attempt: Attempt,
) -> None:
    runtime, spec, before = attempt.stages.local.runtime, attempt.spec, attempt.state
    forget_the_queue(attempt)

    advance(runtime, spec.guild, spec.name)

    after = attempt.state
    assert after == replace(before, handle=after.handle)
    assert runtime.backend.state(after.handle) == CallState(CallStatus.QUEUED, position=1)
    assert attempt.stages.run(spec, PREPARE) is StageStatus.SUCCEEDED


def test_a_cancelled_run_ends_though_the_backend_forgot_its_attempt(attempt: Attempt) -> None:
    runtime, spec, handle = attempt.stages.local.runtime, attempt.spec, attempt.state.handle
    forget_the_queue(attempt)
    log = runtime.log(spec.guild, spec.name)
    log.append(Writer(name=REQUEST, attempt=1), CancelRequested(at=now(), by="7"))

    run = advance(runtime, spec.guild, spec.name)

    assert run.status is RunStatus.CANCELLED
    assert attempt.state.handle == handle
    assert attempt.stages.local.backend.is_idle()


@dataclass
class Hanging:
    """A backend with one call that never stops and is killed as late as on Modal."""

    now: datetime
    asked_at: datetime | None = None
    is_killed: bool = False

    def clock(self) -> datetime:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def submit(self, call: Call, *, since: datetime | None = None) -> str:
        raise AssertionError("a run that is cancelled starts nothing")

    def state(self, handle: str) -> CallState:
        return CallState(CallStatus.ENDED if self.is_killed else CallStatus.RUNNING)

    def gpu_line(self) -> GpuLine:
        raise AssertionError("a run that is cancelled waits for nothing")

    def obstacle(self) -> None:
        return None

    def cancel(self, name: str) -> None:
        self.asked_at = self.asked_at or self.now
        self.is_killed = (self.now - self.asked_at).total_seconds() >= STOP_SECONDS


@pytest.mark.parametrize(
    ("asked_after", "advanced_after", "ends_after"),
    [
        pytest.param(0.0, 0.5, STOP_SECONDS, id="at-once"),
        pytest.param(0.0, 12.0, STOP_SECONDS, id="container-that-starts-slowly"),
        pytest.param(2.0, 2.5, 2.5 + STOP_SECONDS, id="request-that-is-written-slowly"),
        pytest.param(None, 12.0, 12.0 + STOP_SECONDS, id="stage-that-was-being-submitted"),
    ],
)
def test_a_hanging_stage_is_killed_by_the_advance_of_its_cancellation(
    attempt: Attempt, asked_after: float | None, advanced_after: float, ends_after: float
) -> None:
    backend, spec = Hanging(now()), attempt.spec
    with pytest.raises(KilledError):
        attempt.run(is_killed)
    runtime = replace(attempt.stages.local.runtime, backend=backend, clock=backend.clock)
    log, requested_at = runtime.log(spec.guild, spec.name), backend.now
    log.append(Writer(name=REQUEST, attempt=1), CancelRequested(at=requested_at, by="7"))
    if asked_after is not None:
        backend.asked_at = requested_at + timedelta(seconds=asked_after)
    backend.pause(advanced_after)

    advance_one(runtime, spec.guild, spec.name, lambda: None, pause=backend.pause)

    assert log.load().status is RunStatus.CANCELLED
    took = (backend.now - requested_at).total_seconds()
    assert took == pytest.approx(ends_after, abs=1.0)


def test_an_advance_without_a_cancellation_does_not_wait(attempt: Attempt) -> None:
    backend, spec = Hanging(now()), attempt.spec
    with pytest.raises(KilledError):
        attempt.run(is_killed)
    runtime = replace(attempt.stages.local.runtime, backend=backend, clock=backend.clock)
    before = backend.now

    advance_one(runtime, spec.guild, spec.name, lambda: None, pause=backend.pause)

    assert backend.now == before
    assert backend.asked_at is None


def test_a_process_that_waits_for_its_turn_sees_newer_events(attempt: Attempt) -> None:
    runtime, spec = attempt.stages.local.runtime, attempt.spec
    grant = runtime.leases.acquire(f"{spec.guild}/{spec.name}", holder="another")
    assert grant is not None
    found: list[StageStatus] = []
    waiting = threading.Thread(
        target=lambda: found.append(
            advance(runtime, spec.guild, spec.name, waits=True).stage(PREPARE).status
        )
    )
    waiting.start()

    no_turn = advance(runtime, spec.guild, spec.name)
    attempt.run(is_interrupted)  # no other process may start the next attempt now
    runtime.leases.release(grant)
    waiting.join(30)

    assert no_turn.stage(PREPARE).status is StageStatus.SUBMITTED
    assert found == [StageStatus.SUBMITTED]
    assert attempt.state.attempt == 2


def test_attempts_stopped_by_a_busy_service_have_no_limit(
    tmp_path: Path,
) -> None:
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=2, clips=1))
    spec = stages.begin()

    def busy(context: StageContext) -> StageResult:
        raise BusyError("too many layers in volume. Please wait and retry.")

    for number in range(1, 7):
        handle = int(stages.state(spec, PREPARE).handle)
        call = stages.local.backend.call(handle)
        assert call.attempt == number
        status = run_stage(stages.local.runtime, call, busy, threading.Event())
        stages.local.backend.mark_ended(handle)
        assert status is StageStatus.INTERRUPTED

    assert stages.run(spec, PREPARE) is StageStatus.SUCCEEDED
