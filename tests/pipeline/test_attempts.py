"""One attempt of a stage, started more than once or told to end: by a platform that does so."""

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.media import guide_files
from tests.pipeline.stages import Stages
from training.backends.modal.backend import STOP_SECONDS
from training.backends.modal.functions import advance_one
from training.pipeline.advance import advance, lease_name
from training.pipeline.stage_runner import (
    StageContext,
    StageFunction,
    StageInterruptedError,
    StageResult,
    run_stage,
)
from training.ports import Call, CallState, CallStatus, Grant, Leases
from training.runs.event_log import REQUEST, Writer
from training.runs.events import CancelRequested
from training.runs.spec import RunSpec
from training.runs.state import RunStatus, StageState, StageStatus
from training.vocabulary import StageKey

PREPARE = StageKey("prepare")


@dataclass
class Watched:
    """Leases, with the names that were asked for."""

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
    """The container is gone in the middle of the work."""


def is_interrupted(_context: StageContext) -> StageResult:
    raise StageInterruptedError("stopped on request")


def is_killed(_context: StageContext) -> StageResult:
    raise KilledError


def must_not_work(_context: StageContext) -> StageResult:
    raise AssertionError("an attempt that is over works again")


def test_a_call_that_is_started_again_after_its_last_word_never_holds_the_lease(
    attempt: Attempt,
) -> None:
    attempt.run(is_interrupted)
    assert attempt.state.attempt == 2  # submitted by the end of the first one
    leases = Watched(attempt.stages.local.runtime.leases)

    status = attempt.run(must_not_work, leases)

    assert status is None
    assert attempt.lease not in leases.asked


def test_a_call_that_is_started_again_after_it_was_cut_off_leaves_the_work_to_the_next_attempt(
    attempt: Attempt,
) -> None:
    with pytest.raises(KilledError):
        attempt.run(is_killed)
    assert attempt.state.status is StageStatus.RUNNING
    attempt.stages.local.runtime.leases.revoke(attempt.lease, attempt=1)  # as time does

    status = attempt.run(must_not_work)

    assert status is None
    state = attempt.state
    assert (state.attempt, state.status) == (2, StageStatus.SUBMITTED)


def test_while_the_lease_of_the_cut_off_one_lives_nothing_is_written(attempt: Attempt) -> None:
    with pytest.raises(KilledError):
        attempt.run(is_killed)
    before = attempt.stages.local.runtime.log(attempt.spec.guild, attempt.spec.name).events()

    status = attempt.run(must_not_work)

    assert status is None
    log = attempt.stages.local.runtime.log(attempt.spec.guild, attempt.spec.name)
    assert log.events() == before


class TakenOver(Watched):
    """Leases that somebody else takes while they are used for long."""

    def renew(self, grant: Grant) -> bool:
        return False


def test_whoever_lost_the_runs_lease_writes_nothing_more(
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
class Stubborn:
    """A backend whose calls end when they are told to for the second time."""

    told: Counter[str] = field(default_factory=Counter[str])

    def submit(self, call: Call) -> str:
        raise AssertionError("a run that is cancelled starts nothing")

    def state(self, handle: str) -> CallState:
        return CallState(
            CallStatus.RUNNING if min(self.told.values(), default=0) < 2 else CallStatus.ENDED
        )

    def cancel(self, name: str) -> None:
        self.told[name] += 1


def test_what_does_not_stop_when_its_run_is_cancelled_is_seen_to_once_more_in_time(
    attempt: Attempt,
) -> None:
    backend, paused, spec = Stubborn(), list[float](), attempt.spec
    with pytest.raises(KilledError):
        attempt.run(is_killed)
    runtime = replace(attempt.stages.local.runtime, backend=backend)
    advance_one(runtime, spec.guild, spec.name, lambda: None, pause=paused.append)
    before = list(paused)
    log = runtime.log(spec.guild, spec.name)
    log.append(Writer(name=REQUEST, attempt=1), CancelRequested(at=runtime.clock(), by="7"))

    advance_one(runtime, spec.guild, spec.name, lambda: None, pause=paused.append)

    assert before == []
    assert paused == [pytest.approx(STOP_SECONDS, abs=1.0)]
    assert backend.told[attempt.call.name] == 2
    assert log.load().status is RunStatus.CANCELLED


def test_who_waits_for_its_turn_sees_what_was_written_meanwhile(attempt: Attempt) -> None:
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
    attempt.run(is_interrupted)  # nobody has a turn to start the next attempt
    runtime.leases.release(grant)
    waiting.join(30)

    assert no_turn.stage(PREPARE).status is StageStatus.SUBMITTED
    assert found == [StageStatus.SUBMITTED]
    assert attempt.state.attempt == 2
