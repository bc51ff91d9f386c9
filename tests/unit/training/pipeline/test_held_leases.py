"""Holding a lease while something is done."""

import threading
from pathlib import Path

import pytest

import training.pipeline.leases
from storage.local.leases import FileLeases
from training.pipeline.leases import hold_lease
from training.ports import Grant


@pytest.fixture(autouse=True)
def _quick_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.pipeline.leases, "HEARTBEAT_SECONDS", 0.001)


class OutOfReach(FileLeases):
    """Leases that cannot be reached for the first renewals."""

    def __init__(self, folder: Path, failures: int) -> None:
        super().__init__(folder)
        self._failures = failures
        self.is_back = threading.Event()

    def renew(self, grant: Grant) -> bool:
        if self._failures:
            self._failures -= 1
            raise ConnectionError("away")
        self.is_back.set()
        return super().renew(grant)


class SlowToRelease(FileLeases):
    """Leases that release so slowly that a renewal may come after the release."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._was_renewed = threading.Event()

    def renew(self, grant: Grant) -> bool:
        is_held = super().renew(grant)
        self._was_renewed.set()
        return is_held

    def release(self, grant: Grant) -> None:
        super().release(grant)
        self._was_renewed.clear()
        self._was_renewed.wait(0.05)


def test_a_lease_unreachable_for_a_moment_is_not_lost(tmp_path: Path) -> None:
    leases, lost = OutOfReach(tmp_path, failures=3), threading.Event()

    with hold_lease(leases, "merge", on_lost=lost.set):
        assert leases.is_back.wait(10)

    assert not lost.is_set()


def test_releasing_a_lease_is_not_reported_as_a_loss(tmp_path: Path) -> None:
    leases, lost = SlowToRelease(tmp_path), threading.Event()

    with hold_lease(leases, "merge", on_lost=lost.set):
        pass

    assert not lost.is_set()
    assert leases.acquire("merge", holder="next") is not None


def test_a_lost_lease_is_reported_once(tmp_path: Path) -> None:
    leases, lost = FileLeases(tmp_path), threading.Event()

    with hold_lease(leases, "merge", on_lost=lost.set):
        leases.revoke("merge", attempt=1)
        assert lost.wait(10)
