"""Which copy of the bot is active: taking the lease, losing it, handing it over."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.discord.copies.leader import Leader, Timing
from storage.local.leases import FileLeases
from training.ports import Grant

LEASE = "bot/active/1"
QUICK = Timing(poll=0.01, beat=0.01, trust=0.2, rest=0.05)


class Work:
    """The work of the active copy; records when it runs."""

    def __init__(self) -> None:
        self.is_done_now = False
        self.failures = 0
        self.started = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self) -> None:
        self.started.set()
        self.ended.clear()
        self.is_done_now = True
        try:
            if self.failures:
                self.failures -= 1
                raise OSError("no work")
            await asyncio.Event().wait()
        finally:
            self.is_done_now = False
            self.started.clear()
            self.ended.set()


class FlakyLeases(FileLeases):
    """Leases over a network that can be slow or cut off."""

    is_cut = False
    gate: threading.Event | None = None

    def acquire(self, name: str, *, holder: str, attempt: int = 1) -> Grant | None:
        self._pass()
        return super().acquire(name, holder=holder, attempt=attempt)

    def renew(self, grant: Grant) -> bool:
        self._pass()
        return super().renew(grant)

    def _pass(self) -> None:
        if self.gate is not None:
            self.gate.wait(10)
        if self.is_cut:
            raise ConnectionError("cut")


@pytest.fixture
def leases(tmp_path: Path) -> FlakyLeases:
    return FlakyLeases(tmp_path / "leases")


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
async def leader(leases: FlakyLeases, work: Work) -> AsyncIterator[Leader]:
    found = Leader(leases, work, QUICK)
    async with asyncio.timeout(10):
        yield found
        await found.end()


@pytest.fixture
async def next_leader(tmp_path: Path) -> AsyncIterator[tuple[Leader, Work]]:
    work = Work()
    found = Leader(FileLeases(tmp_path / "leases"), work, QUICK)
    yield found, work
    await found.end()


async def test_a_single_copy_is_active_at_once(leader: Leader, work: Work) -> None:
    await leader.begin(LEASE)

    assert leader.is_active
    await work.started.wait()


async def test_a_second_stands_by_until_the_first_hands_over(
    leader: Leader, work: Work, next_leader: tuple[Leader, Work]
) -> None:
    second, second_work = next_leader
    await leader.begin(LEASE)
    await work.started.wait()
    await second.begin(LEASE)
    was_active = second.is_active

    await leader.end()
    await second_work.started.wait()

    assert not was_active
    assert not leader.is_active
    assert not work.is_done_now
    assert second.is_active


async def test_a_lost_lease_ends_the_work_and_is_taken_again_once_it_is_free(
    leader: Leader, work: Work, leases: FlakyLeases, caplog: pytest.LogCaptureFixture
) -> None:
    await leader.begin(LEASE)
    await work.started.wait()

    leases.revoke(LEASE, attempt=1)
    other = leases.acquire(LEASE, holder="other")
    await work.ended.wait()
    was_active = leader.is_active
    assert other is not None
    leases.release(other)
    await work.started.wait()

    assert not was_active
    assert leader.is_active
    assert "lost its lease" in caplog.text


async def test_a_lease_that_cannot_be_renewed_counts_as_lost_before_it_expires(
    leader: Leader, work: Work, leases: FlakyLeases
) -> None:
    await leader.begin(LEASE)
    await work.started.wait()

    leases.is_cut = True
    await work.ended.wait()

    assert not leader.is_active
    leases.is_cut = False
    await work.started.wait()


async def test_a_renewal_that_hangs_counts_as_lost_too(
    leader: Leader, work: Work, leases: FlakyLeases
) -> None:
    await leader.begin(LEASE)
    await work.started.wait()

    leases.gate = threading.Event()
    await work.ended.wait()

    assert not leader.is_active
    leases.gate.set()
    await work.started.wait()


async def test_unreachable_leases_at_the_start_are_logged_once_and_retried(
    leader: Leader, work: Work, leases: FlakyLeases, caplog: pytest.LogCaptureFixture
) -> None:
    leases.is_cut = True

    await leader.begin(LEASE)
    was_active = leader.is_active
    leases.is_cut = False
    await work.started.wait()

    assert not was_active
    assert caplog.text.count("cannot be reached") == 1


async def test_failed_work_is_logged_and_started_again(
    leader: Leader, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    work.failures = 1

    await leader.begin(LEASE)
    await work.ended.wait()
    await work.started.wait()

    assert leader.is_active
    failed = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert [one.getMessage() for one in failed] == ["work of the active copy failed"]


async def test_work_that_fails_in_one_copy_is_left_to_another(
    leader: Leader, work: Work, next_leader: tuple[Leader, Work]
) -> None:
    second, second_work = next_leader
    work.failures = 1
    await leader.begin(LEASE)
    await second.begin(LEASE)

    await second_work.started.wait()

    assert second.is_active
    assert not leader.is_active


async def test_a_copy_that_leaves_while_it_asks_for_the_lease_does_not_keep_it(
    leader: Leader, leases: FlakyLeases, next_leader: tuple[Leader, Work]
) -> None:
    leases.gate = threading.Event()
    beginning = asyncio.create_task(leader.begin(LEASE))
    await asyncio.sleep(0)  # it is asking now
    beginning.cancel()
    await asyncio.wait({beginning})

    leaving = asyncio.create_task(leader.end())
    leases.gate.set()
    await leaving
    await next_leader[0].begin(LEASE)

    assert next_leader[0].is_active
