"""How the end of an attempt is stored while the store asks to wait, is full, or is another's."""

import errno
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bot.settings import Settings
from storage.local.store import FolderStore
from tests.pipeline.stages import IdleRuntime
from tests.specs import report, spec
from training.pipeline.advance import lease_name
from training.pipeline.stage_runner import StageContext, StageFunction, StageResult, run_stage
from training.pipeline.stage_writes import Made, StageInterruptedError
from training.ports import BusyError, Call, StoreChanges
from training.runs.event_log import RunLog
from training.runs.events import StageCost, StageEvent, StageFailed, StageStarted, StageStopped
from training.runs.state import StageStatus
from training.vocabulary import StageKey

SPEC = spec()
CALL = Call(guild=SPEC.guild, run=SPEC.name, key=StageKey("fetch"), attempt=1, device="cpu")
RECEIPT = SPEC.keys.receipt(CALL.key)


class RefusingStore(FolderStore):
    """A store with slow writes, which refuses as many changes as `refusals` holds errors."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.write_seconds = 3600.0
        self.refusals: list[OSError] = []

    def change(self, changes: StoreChanges) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        super().change(changes)


@dataclass
class Attempt:
    """The first attempt of a stage, whose store a test lets refuse what it wants."""

    folder: Path
    advanced: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.store = RefusingStore(self.folder / "store")
        runtime = IdleRuntime(Settings(home=self.folder / "home")).runtime
        self.runtime = replace(
            runtime, store=self.store, remote_advance=self._note_advance, room_seconds=0.0
        )
        self.store.write(SPEC.keys.spec, SPEC.model_dump_json().encode())
        self.store.write(SPEC.keys.report, report().model_dump_json().encode())

    def _note_advance(self, _guild: str, run: str) -> None:
        self.advanced.append(run)

    def run(self, error: Exception, refusals: Sequence[OSError]) -> StageStatus | None:
        """Run the attempt, which ends with `error`; the store refuses from then on."""

        def work(_context: StageContext) -> StageResult:
            self.store.refusals += refusals
            raise error

        return self.run_function(work)

    def run_function(self, function: StageFunction) -> StageStatus | None:
        return run_stage(self.runtime, CALL, function, threading.Event())

    def bodies(self) -> list[type]:
        """Return the kinds of the stored events."""
        events = RunLog(self.store, CALL.guild, CALL.run).events()
        return [type(event.body) for event in events if isinstance(event, StageEvent)]


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path)


BUSY = BusyError("too many layers in volume. Please wait and retry.")
FULL = OSError(errno.ENOSPC, "the Volume on Modal is full")


@pytest.mark.parametrize(
    ("error", "status", "end"),
    [
        (StageInterruptedError("preempted"), StageStatus.INTERRUPTED, StageStopped),
        (BUSY, StageStatus.INTERRUPTED, StageStopped),
        (FULL, StageStatus.FAILED, StageFailed),
        (OSError(errno.EIO, "Input/output error"), StageStatus.INTERRUPTED, StageStopped),
        (OSError(errno.ESTALE, "Stale file handle"), StageStatus.INTERRUPTED, StageStopped),
        (OSError(errno.EACCES, "Permission denied"), StageStatus.FAILED, StageFailed),
    ],
)
def test_an_end_that_the_busy_store_refuses_is_stored_by_a_later_try(
    attempt: Attempt, error: Exception, status: StageStatus, end: type
) -> None:
    found = attempt.run(error, [BUSY, BUSY])

    assert found is status
    assert attempt.bodies() == [StageStarted, StageCost, end]  # what waited is told, too
    assert attempt.advanced == [CALL.run]


def test_an_end_that_a_busy_store_never_takes_is_an_error(attempt: Attempt) -> None:
    with pytest.raises(BusyError):
        attempt.run(StageInterruptedError("preempted"), [BUSY] * 3)

    assert attempt.bodies() == []


def test_an_end_for_which_a_full_store_has_no_room_is_stored_without_what_waited(
    attempt: Attempt,
) -> None:
    def work(context: StageContext) -> StageResult:
        context.writes.later(Made(records={RECEIPT: b"large"}))
        attempt.store.refusals += [FULL]
        raise FULL

    found = attempt.run_function(work)

    assert found is StageStatus.FAILED
    assert attempt.bodies() == [StageCost, StageFailed]
    assert not attempt.store.exists(RECEIPT)
    assert attempt.runtime.log(CALL.guild, CALL.run).load().stage(CALL.key).cause


def test_an_end_for_which_a_full_store_never_has_room_is_an_error(attempt: Attempt) -> None:
    with pytest.raises(OSError, match="full"):
        attempt.run(FULL, [FULL] * 3)


def test_any_other_error_of_the_store_is_not_tried_again(attempt: Attempt) -> None:
    lost = ConnectionError("Modal did not answer")

    with pytest.raises(ConnectionError, match="did not answer"):
        attempt.run(FULL, [lost])

    assert attempt.bodies() == []


def test_an_attempt_that_was_overtaken_tells_no_end(attempt: Attempt) -> None:
    def work(_context: StageContext) -> StageResult:
        leases, name = attempt.runtime.leases, lease_name(CALL.guild, CALL.run, CALL.key)
        leases.revoke(name, attempt=1)
        assert leases.acquire(name, holder="the next", attempt=2) is not None
        raise StageInterruptedError("stopped on request")

    found = attempt.run_function(work)

    assert found is StageStatus.INTERRUPTED
    assert attempt.bodies() == []
