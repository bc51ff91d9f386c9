"""Which keys leases leave in a shared Dict, and how they handle damaged or missing ones."""

from collections.abc import Callable

import pytest

from storage.modal.leases import KEPT_SECONDS, ModalLeases
from tests.memory_dict import MemoryDict


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class InterruptedDict(MemoryDict):
    """Lets something happen right before the next creation, once."""

    def __init__(self, values: dict[str, str], happening: Callable[[], None]) -> None:
        super().__init__(values)
        self._happening: Callable[[], None] | None = happening

    def put(self, key: str, value: object, *, skip_if_exists: bool = False) -> bool:
        if skip_if_exists and self._happening is not None:
            happening, self._happening = self._happening, None
            happening()
        return super().put(key, value, skip_if_exists=skip_if_exists)


class LossyDict(MemoryDict):
    """Loses the answer to every creation; the client's second try then finds the key there."""

    def put(self, key: str, value: object, *, skip_if_exists: bool = False) -> bool:
        if skip_if_exists:
            super().put(key, value, skip_if_exists=True)
        return super().put(key, value, skip_if_exists=skip_if_exists)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def entries() -> MemoryDict:
    return MemoryDict()


@pytest.fixture
def leases(entries: MemoryDict, clock: Clock) -> ModalLeases:
    return ModalLeases(entries, seconds=10, clock=clock)


def take_turns(leases: ModalLeases, clock: Clock, *, times: int, every: float) -> None:
    for number in range(times):
        grant = leases.acquire("run", holder=str(number))
        assert grant is not None
        leases.release(grant)
        clock.now += every


def test_generations_superseded_long_ago_are_removed(
    leases: ModalLeases, entries: MemoryDict, clock: Clock
) -> None:
    take_turns(leases, clock, times=500, every=60)

    # Two generations a minute for as long as they are kept, plus those swept at once.
    assert len(entries.values) < 2 * KEPT_SECONDS / 60 + 20


def test_generations_that_somebody_may_still_read_stay(
    leases: ModalLeases, entries: MemoryDict, clock: Clock
) -> None:
    take_turns(leases, clock, times=50, every=KEPT_SECONDS / 100)

    assert [entries.contains(f"lease/{number}/run") for number in range(1, 101)] == [True] * 100


def test_a_hint_that_lags_behind_is_followed(leases: ModalLeases, entries: MemoryDict) -> None:
    old_hint = entries.values.get("lease/newest/run")
    assert old_hint is None
    leases.acquire("run", holder="a")
    first_hint = entries.values["lease/newest/run"]
    leases.revoke("run", attempt=1)
    leases.acquire("run", holder="b", attempt=2)

    entries.values["lease/newest/run"] = first_hint

    assert leases.acquire("run", holder="c", attempt=2) is None


def test_a_hint_to_a_removed_generation_is_ignored(
    leases: ModalLeases, entries: MemoryDict, clock: Clock
) -> None:
    leases.acquire("run", holder="a")
    first_hint = entries.values["lease/newest/run"]
    leases.revoke("run", attempt=1)
    take_turns(leases, clock, times=100, every=60)
    held = leases.acquire("run", holder="b")
    assert held is not None

    entries.values["lease/newest/run"] = first_hint

    assert leases.acquire("run", holder="c") is None
    assert leases.renew(held)


def test_a_lease_whose_keys_have_expired_is_free(leases: ModalLeases, entries: MemoryDict) -> None:
    old = leases.acquire("run", holder="a")
    assert old is not None
    entries.pop("lease/1/run")

    assert not leases.renew(old)
    assert leases.acquire("run", holder="b") is not None
    assert not leases.renew(old)


def test_an_unreadable_generation_has_no_holder(
    leases: ModalLeases, entries: MemoryDict, caplog: pytest.LogCaptureFixture
) -> None:
    old = leases.acquire("run", holder="a")
    assert old is not None
    entries.put("lease/1/run", {"owner": "a"})

    assert not leases.renew(old)
    assert leases.acquire("run", holder="b") is not None
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize("other", ["run/1", "1/run", "newest/run", "2/run"])
def test_leases_with_numbers_in_their_names_are_leases_of_their_own(
    leases: ModalLeases, other: str
) -> None:
    assert leases.acquire("run", holder="a") is not None

    assert leases.acquire(other, holder="b") is not None
    assert leases.acquire("run", holder="c") is None


def test_a_client_that_slept_past_the_sweep_gets_no_lease(
    entries: MemoryDict, leases: ModalLeases, clock: Clock
) -> None:
    take_turns(leases, clock, times=1, every=0)

    def meanwhile() -> None:
        take_turns(leases, clock, times=100, every=60)
        leases.acquire("run", holder="owner")

    sleeper = ModalLeases(InterruptedDict(entries.values, meanwhile), seconds=10, clock=clock)

    assert sleeper.acquire("run", holder="sleeper") is None
    assert (
        "sleeper" in entries.values["lease/3/run"]
    )  # it did create a key that was removed long ago


def test_a_creation_whose_answer_was_lost_counts(clock: Clock) -> None:
    leases = ModalLeases(LossyDict(), seconds=10, clock=clock)

    grant = leases.acquire("run", holder="a")

    assert grant is not None
    clock.now += 12
    assert leases.renew(grant)
    leases.release(grant)
    assert leases.acquire("run", holder="b") is not None
