"""Leases in a shared Dict, in every order of the operations of two clients and a clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.modal.leases import ModalLeases
from tests.examples import examples
from tests.interleaving import (
    Client,
    State,
    Steps,
    begin,
    run_alone,
    run_in_every_order,
    running,
    step,
)
from tests.memory_dict import MemoryDict
from training.ports import Grant, Leases

LEASE = "1/run/train"
SECONDS = 10.0
A, B, C = (Grant(LEASE, holder, 1) for holder in "abc")
A2, B2 = replace(A, attempt=2), replace(B, attempt=2)
GRANTS = (A, B, C, A2, B2)
Owners = tuple[frozenset[Grant | None], ...]


@dataclass(frozen=True, slots=True)
class Said:
    """What a client was told: whether `grant` is its own, by a call that began at `asked_at`."""

    grant: Grant
    asked_at: float
    is_held: bool


class Actor:
    """One client, which records its answers so that the test can check them."""

    def __init__(self, steps: Steps, leases: Leases) -> None:
        self._steps, self._leases = steps, leases

    def acquire(self, grant: Grant) -> bool:
        asked_at = self._steps.clock()
        got = self._leases.acquire(grant.name, holder=grant.holder, attempt=grant.attempt)
        self._steps.notes.append(Said(grant, asked_at, got is not None))
        return got is not None

    def renew(self, grant: Grant) -> bool:
        asked_at = self._steps.clock()
        is_held = self._leases.renew(grant)
        self._steps.notes.append(Said(grant, asked_at, is_held))
        return is_held

    def release(self, grant: Grant) -> None:
        self._steps.notes.append("gives it up")
        self._leases.release(grant)
        self._steps.notes.append("gave it up")

    def revoke(self, attempt: int) -> None:
        self._leases.revoke(LEASE, attempt=attempt)


def acting(act: Callable[[Actor], object]) -> Client:
    def client(steps: Steps) -> None:
        act(Actor(steps, ModalLeases(steps, seconds=SECONDS, clock=steps.clock)))

    return client


def passing(*seconds: float) -> Client:
    def client(steps: Steps) -> None:
        for some in seconds:
            steps.let_pass(some)

    return client


@cache
def owner_in(values: tuple[tuple[str, str], ...], now: float) -> Grant | None:
    confirmed = [
        grant
        for grant in GRANTS
        if ModalLeases(MemoryDict(dict(values)), seconds=SECONDS, clock=lambda: now).renew(grant)
    ]
    assert len(confirmed) <= 1, f"all of {confirmed} hold the lease"
    return confirmed[0] if confirmed else None


def owner(state: State) -> Grant | None:
    """Return the grant that a renewal would confirm now; fail if there are two."""
    return owner_in(state.values, state.now)


def believers(state: State, revoked: Sequence[Grant]) -> list[Grant]:
    """Return the grants that clients rely on, which were confirmed within the lease's lifetime."""
    last = [notes[-1] for notes in state.notes if notes]
    told = [said for said in last if isinstance(said, Said) and said.is_held]
    counted_on = (said.grant for said in told if state.now < said.asked_at + SECONDS)
    return [grant for grant in counted_on if grant not in revoked]


def watching(*, revoked: Sequence[Grant] = ()) -> Callable[[State, State, int, Owners], Owners]:
    """Return a check of every step.

    What a client is told was true at some moment of its call, and never do two count on the lease.
    """

    def watch(before: State, after: State, index: int, seen: Owners) -> Owners:
        assert len(believers(after, revoked)) <= 1, believers(after, revoked)
        now = owner(after)
        seen = tuple(owners | {now} for owners in seen)
        new = after.notes[index][len(before.notes[index]) :]
        for said in new:
            if isinstance(said, Said) and said.is_held:
                assert said.grant in seen[index], f"{said} was never true"
            elif isinstance(said, Said):
                assert seen[index] != {said.grant}, f"{said} was never true"
        return tuple(
            frozenset({now}) if new and i == index else owners for i, owners in enumerate(seen)
        )

    return watch


def explore(clients: Sequence[Client], start: State, *, revoked: Sequence[Grant] = ()) -> int:
    seen: Owners = (frozenset({owner(start)}),) * len(clients)
    return run_in_every_order(clients, start, watching(revoked=revoked), seen)


def no_owner(clients: Sequence[Client]) -> Owners:
    return (frozenset({None}),) * len(clients)


def held_by_a() -> State:
    return run_alone(acting(lambda a: a.acquire(A)))


def test_two_clients_take_a_new_lease() -> None:
    takes_and_renews = acting(lambda a: a.acquire(A) and a.renew(A))
    takes = acting(lambda b: b.acquire(B))

    assert explore([takes_and_renews, takes], State()) > 100


def test_an_owner_that_renews_around_the_expiry_while_another_takes() -> None:
    renews = acting(lambda a: a.renew(A))
    takes = acting(lambda b: b.acquire(B))

    assert explore([renews, takes, passing(8.0, 3.0)], held_by_a()) > 1000


def test_two_clients_take_an_expired_lease() -> None:
    takes_and_renews = acting(lambda a: a.acquire(C) and a.renew(C))
    takes = acting(lambda b: b.acquire(B))

    assert explore([takes_and_renews, takes, passing(11.0)], held_by_a()) > 1000


def test_a_release_while_another_takes() -> None:
    renews_and_releases = acting(lambda a: (a.renew(A), a.release(A)))
    takes = acting(lambda b: b.acquire(B))

    assert explore([renews_and_releases, takes], held_by_a()) > 100


def test_a_release_and_a_new_attempt_around_another_owner() -> None:
    starts_again = acting(lambda a: (a.release(A), a.acquire(A2)))
    comes_between = acting(lambda b: b.acquire(B) and b.release(B))

    assert explore([starts_again, comes_between], held_by_a()) > 1000


def test_a_revocation_while_the_owner_renews() -> None:
    renews = acting(lambda a: a.renew(A))
    replaces = acting(lambda b: (b.revoke(1), b.acquire(B2)))

    assert explore([renews, replaces], held_by_a(), revoked=[A]) > 100


def test_two_clients_revoke_a_dead_attempt_and_take_over() -> None:
    replaces = acting(lambda a: (a.revoke(1), a.acquire(A2)))
    replaces_too = acting(lambda b: (b.revoke(1), b.acquire(B2)))

    assert explore([replaces, replaces_too], held_by_a(), revoked=[A]) > 1000


ACTIONS: tuple[Callable[[Actor, Grant], object], ...] = (
    lambda actor, own: actor.acquire(own),
    lambda actor, own: actor.renew(own),
    lambda actor, own: actor.release(own),
)


@settings(max_examples=examples(150), deadline=None)
@given(
    plans=st.tuples(*(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=4),) * 3),
    pauses=st.lists(st.sampled_from([1.0, 4.0, 8.5, 9.5, 11.0]), max_size=4),
    order=st.lists(st.integers(0, 11), min_size=20, max_size=120),
)
def test_three_clients_and_time_in_any_order(
    plans: Sequence[Sequence[Callable[[Actor, Grant], object]]],
    pauses: list[float],
    order: list[int],
) -> None:
    def client(own: Grant, plan: Sequence[Callable[[Actor, Grant], object]]) -> Client:
        return acting(lambda actor: [action(actor, own) for action in plan])

    clients = [client(own, plan) for own, plan in zip((A, B, C), plans, strict=True)]
    clients.append(passing(*pauses))
    state, seen, watch = begin(clients), no_owner(clients), watching()

    for choice in order:
        if open_clients := running(state):
            index = open_clients[choice % len(open_clients)]
            after = step(state, clients, index)
            state, seen = after, watch(state, after, index, seen)


def test_a_dict_that_creates_a_key_twice_is_detected() -> None:
    def taking(own: Grant) -> Client:
        def client(steps: Steps) -> None:
            steps.creates_once = False
            acting(lambda actor: actor.acquire(own))(steps)

        return client

    with pytest.raises(AssertionError, match=r"holder='a'.*holder='b'"):
        explore([taking(A), taking(B)], State())
