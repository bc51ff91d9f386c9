"""What every `Leases` promises."""

from functools import partial
from pathlib import Path

import pytest

from storage.local.leases import FileLeases
from storage.modal.leases import ModalLeases
from tests.at_once import at_once
from tests.memory_dict import MemoryDict
from training.ports import Grant, Leases


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["file", "memory", "modal"])
def leases(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Leases:
    if request.param == "file":
        return FileLeases(tmp_path / "leases", seconds=10, clock=clock)
    entries = MemoryDict() if request.param == "memory" else request.getfixturevalue("new_dict")()
    return ModalLeases(entries, seconds=10, clock=clock)


def held(leases: Leases, holder: str, attempt: int = 1) -> Grant:
    grant = leases.acquire("run/train", holder=holder, attempt=attempt)
    assert grant is not None
    return grant


def test_a_held_lease_keeps_others_out(leases: Leases) -> None:
    held(leases, "a")

    assert leases.acquire("run/train", holder="b") is None
    assert leases.acquire("run/other", holder="b") is not None


def test_of_many_callers_exactly_one_gets_the_lease(leases: Leases) -> None:
    grants: list[Grant] = []

    def take(number: int) -> None:
        grant = leases.acquire("run/train", holder=str(number))
        if grant is not None:
            grants.append(grant)

    at_once([partial(take, number) for number in range(8)])

    assert len(grants) == 1


def test_a_renewed_lease_stays_held(leases: Leases, clock: Clock) -> None:
    grant = held(leases, "a")

    clock.now += 8
    assert leases.renew(grant)
    clock.now += 8

    assert leases.acquire("run/train", holder="b") is None


def test_an_expired_lease_goes_to_the_next_holder_and_the_old_one_notices(
    leases: Leases, clock: Clock
) -> None:
    old = held(leases, "a")
    clock.now += 11

    new = held(leases, "b", attempt=2)

    assert not leases.renew(old)
    assert leases.renew(new)


def test_a_lease_from_before_the_clock_went_back_keeps_nobody_out(
    leases: Leases, clock: Clock
) -> None:
    dead = held(leases, "a")
    clock.now -= 3600

    new = held(leases, "b")

    assert not leases.renew(dead)
    assert leases.renew(new)
    assert leases.acquire("run/train", holder="c") is None


def test_a_holder_that_renews_after_the_clock_went_back_keeps_its_lease(
    leases: Leases, clock: Clock
) -> None:
    grant = held(leases, "a")
    clock.now -= 3600

    assert leases.renew(grant)
    assert leases.acquire("run/train", holder="b") is None
    clock.now += 9
    assert leases.acquire("run/train", holder="b") is None
    clock.now += 2
    assert leases.acquire("run/train", holder="b") is not None


def test_clocks_that_differ_a_little_change_nothing(leases: Leases, clock: Clock) -> None:
    held(leases, "a")
    clock.now -= 0.9

    assert leases.acquire("run/train", holder="b") is None


def test_a_released_lease_is_free_at_once(leases: Leases) -> None:
    leases.release(held(leases, "a"))

    assert leases.acquire("run/train", holder="b") is not None


def test_releasing_a_lost_lease_changes_nothing(leases: Leases, clock: Clock) -> None:
    old = held(leases, "a")
    clock.now += 11
    new = held(leases, "b")

    leases.release(old)

    assert leases.renew(new)


def test_the_lease_of_a_dead_attempt_can_be_ended(leases: Leases) -> None:
    dead = held(leases, "a", attempt=1)

    leases.revoke("run/train", attempt=1)

    assert not leases.renew(dead)
    assert leases.acquire("run/train", holder="b", attempt=2) is not None


def test_ending_an_old_attempt_spares_a_newer_one(leases: Leases) -> None:
    newer = held(leases, "b", attempt=2)

    leases.revoke("run/train", attempt=1)

    assert leases.renew(newer)


def test_an_older_attempt_never_replaces_a_newer_one(leases: Leases) -> None:
    leases.release(held(leases, "b", attempt=2))

    assert leases.acquire("run/train", holder="a", attempt=1) is None
