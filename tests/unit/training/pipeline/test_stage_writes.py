"""What a stage makes is stored in few writes, and never by an attempt that was overtaken."""

import errno
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.settings import Settings
from storage.local.store import FolderStore
from tests.pipeline.stages import IdleRuntime
from training.pipeline.stage_writes import Made, StageInterruptedError, StageWrites
from training.ports import Call, StoreChanges
from training.runs.event_log import RunLog
from training.runs.events import StageEvent, StageStarted, StageSucceeded
from training.runs.training_events import EpochEnded
from training.vocabulary import StageKey

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CALL = Call(guild="1", run="a", key=StageKey("train", "main"), attempt=1, device="gpu")
RECEIPT = "guilds/1/runs/a/receipts/train-main.json"
STARTED, ENDED = StageStarted(), StageSucceeded()
EPOCH = EpochEnded(epoch=1, step=4, loss=0.5)
HOURS = 3600.0


class SlowStore(FolderStore):
    """A store in which a write is slow, as on Modal; it notes each and may refuse some."""

    def __init__(self, root: Path, write_seconds: float) -> None:
        super().__init__(root)
        self.write_seconds = write_seconds
        self.changes: list[StoreChanges] = []
        self.refuses = 0
        self.error: OSError = ConnectionError("Modal does not answer")
        self.changed = threading.Event()

    def change(self, changes: StoreChanges) -> None:
        if self.refuses:
            self.refuses -= 1
            raise self.error
        super().change(changes)
        self.changes.append(changes)
        self.changed.set()


class Attempt:
    """The writes of one attempt, at times that the test sets."""

    def __init__(self, folder: Path, write_seconds: float, room_seconds: float = 60.0) -> None:
        self.store = SlowStore(folder / "store", write_seconds)
        self.time, self.stopping = NOON, threading.Event()
        runtime = IdleRuntime(Settings(home=folder / "home")).runtime
        self.leases = runtime.leases
        self.log = RunLog(self.store, CALL.guild, CALL.run)
        grant = self.leases.acquire("train", holder="first", attempt=1)
        assert grant is not None
        self.writes = StageWrites(
            replace(runtime, store=self.store, clock=lambda: self.time, room_seconds=room_seconds),
            self.log,
            CALL,
            grant,
            self.stopping,
        )

    def overtake(self) -> None:
        """Give the stage's lease to another attempt."""
        self.leases.revoke("train", attempt=1)
        assert self.leases.acquire("train", holder="second", attempt=2) is not None

    def events(self) -> list[StageEvent]:
        return [event for event in self.log.events() if isinstance(event, StageEvent)]


def test_what_can_wait_is_stored_with_what_cannot_and_told_as_of_its_time(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, HOURS)
    attempt.writes.later(Made(events=[STARTED]))
    attempt.time += timedelta(minutes=5)
    attempt.writes.later(Made(events=[EPOCH]))
    before = len(attempt.store.changes)
    attempt.time += timedelta(minutes=1)

    attempt.writes.store(Made(events=[ENDED], records={RECEIPT: b"{}"}))

    assert before == 0
    assert len(attempt.store.changes) == 1
    found = [(event.body, event.at - NOON) for event in attempt.events()]
    minutes = [timedelta(minutes=number) for number in (0, 5, 6)]
    assert found == list(zip((STARTED, EPOCH, ENDED), minutes, strict=True))
    assert attempt.store.read(RECEIPT) == b"{}"


def test_files_without_events_leave_waiting_events_alone(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, HOURS)
    attempt.writes.later(Made(events=[STARTED]))

    attempt.writes.store(Made(records={RECEIPT: b"{}"}))

    assert attempt.store.exists(RECEIPT)
    assert attempt.events() == []


def test_nothing_waits_where_writes_are_quick(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, 0.0)

    attempt.writes.later(Made(events=[STARTED]))

    assert [event.body for event in attempt.events()] == [STARTED]


def test_what_waits_is_stored_when_its_time_is_up_even_after_a_refusal(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, 0.01)
    attempt.store.refuses = 1

    attempt.writes.later(Made(events=[STARTED]))

    assert attempt.store.changed.wait(60)
    assert [event.body for event in attempt.events()] == [STARTED]


def test_a_refused_end_is_not_told_later_but_what_waited_is(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, HOURS)
    attempt.writes.later(Made(events=[STARTED]))
    attempt.store.refuses = 1

    with pytest.raises(ConnectionError):
        attempt.writes.store(Made(events=[ENDED]))
    attempt.writes.store(Made(events=[EPOCH]))

    assert [event.body for event in attempt.events()] == [STARTED, EPOCH]


def test_an_overtaken_attempt_stores_nothing(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, HOURS)
    attempt.writes.later(Made(events=[STARTED]))
    attempt.overtake()

    with pytest.raises(StageInterruptedError):
        attempt.writes.store(Made(events=[ENDED]))

    assert attempt.stopping.is_set()
    assert attempt.store.changes == []


def test_nothing_is_stored_after_the_end_of_an_attempt(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, HOURS)
    attempt.writes.later(Made(events=[STARTED]))

    attempt.writes.forget()
    attempt.writes.store(Made(events=[ENDED]))

    assert [event.body for event in attempt.events()] == [ENDED]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_what_does_not_fit_on_the_disk_is_stored_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("training.pipeline.stage_writes.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("training.files.disk_space.RETRY_SECONDS", 0.01)
    attempt = Attempt(tmp_path, write_seconds=0.0)
    attempt.store.error, attempt.store.refuses = OSError(code, "full"), 3

    attempt.writes.later(Made(events=[EPOCH]))
    assert attempt.events() == []
    assert attempt.store.changed.wait(30)
    attempt.store.refuses = 3
    attempt.writes.store(Made(events=[ENDED]))

    assert [event.body for event in attempt.events()] == [EPOCH, ENDED]


def test_a_full_volume_is_not_waited_for(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, write_seconds=0.0, room_seconds=0.0)
    attempt.store.error, attempt.store.refuses = OSError(errno.ENOSPC, "full"), 2

    for write in (attempt.writes.later, attempt.writes.store):
        with pytest.raises(OSError, match="full"):
            write(Made(events=[EPOCH]))
