"""Runs clients of a shared Dict in every order of their single operations.

A client is a function that runs from its start again for each of its steps. It gets the answers of
its earlier operations until it reaches one without an answer. So a state is a plain value: the
Dict, the time, and the answers of each client.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tests.memory_dict import MemoryDict

H = TypeVar("H", bound=Hashable)
T = TypeVar("T")


class _NextStepError(BaseException):
    """The client has done its single step."""


@dataclass(frozen=True, slots=True)
class State:
    """The Dict, the time, and for each client its answers, its notes and whether it has ended."""

    values: tuple[tuple[str, str], ...] = ()
    now: float = 1000.0
    answers: tuple[tuple[object, ...], ...] = ()
    notes: tuple[tuple[object, ...], ...] = ()
    has_ended: tuple[bool, ...] = ()

    @property
    def key(self) -> str:
        """Return a key that is equal for states that continue in the same way."""
        return repr((self.values, self.now, self.answers, self.has_ended))


class Steps:
    """The `SharedDict` and clock of a client, which allow one new operation per run."""

    def __init__(self, state: State, known: tuple[object, ...]) -> None:
        self.now = state.now
        self.entries = MemoryDict(dict(state.values))
        self.answers: list[object] = []
        self.notes: list[object] = []  # what the client reports to the test
        self.creates_once = True
        self._known = known

    def _step(self, operation: Callable[[], object]) -> object:
        number = len(self.answers)
        if number > len(self._known):
            raise _NextStepError
        self.answers.append(self._known[number] if number < len(self._known) else operation())
        return self.answers[-1]

    def clock(self) -> float:
        now = self._step(lambda: self.now)
        assert isinstance(now, float)
        return now

    def let_pass(self, seconds: float) -> None:
        def skip() -> None:
            self.now += seconds

        self._step(skip)

    def get(self, key: str) -> object | None:
        return self._step(lambda: self.entries.get(key))

    def put(self, key: str, value: object, *, skip_if_exists: bool = False) -> bool:
        def put() -> bool:
            return self.entries.put(key, value, skip_if_exists=skip_if_exists and self.creates_once)

        return bool(self._step(put))

    def pop(self, key: str) -> object | None:
        return self._step(lambda: self.entries.pop(key))

    def contains(self, key: str) -> bool:
        return bool(self._step(lambda: self.entries.contains(key)))

    def items(self) -> list[tuple[str, object]]:
        # Clients call this only after a delay that no order of their steps reaches.
        raise AssertionError("a client searched all keys")


Client = Callable[[Steps], None]


def begin(clients: Sequence[Client], state: State | None = None) -> State:
    """Return the state in which none of the clients has done anything yet."""
    count = len(clients)
    first = state or State()
    return replace(first, answers=((),) * count, notes=((),) * count, has_ended=(False,) * count)


def step(state: State, clients: Sequence[Client], index: int) -> State:
    """Return the state after one more operation of one client."""
    steps = Steps(state, state.answers[index])
    try:
        clients[index](steps)
        has_ended = True
    except _NextStepError:
        has_ended = False
    return replace(
        state,
        values=tuple(sorted(steps.entries.values.items())),
        now=steps.now,
        answers=_with(state.answers, index, tuple(steps.answers)),
        notes=_with(state.notes, index, tuple(steps.notes)),
        has_ended=_with(state.has_ended, index, has_ended),
    )


def run_alone(client: Client, state: State | None = None) -> State:
    """Return the state after a client has run to its end alone."""
    alone = begin([client], state)
    while not alone.has_ended[0]:
        alone = step(alone, [client], 0)
    return alone


def run_in_every_order(
    clients: Sequence[Client], start: State, watch: Callable[[State, State, int, H], H], seen: H
) -> int:
    """Run the clients in every order of their steps; return how many states there are.

    Orders that lead to the same state are continued only once.

    Args:
        clients: The clients to run.
        start: The state that they find.
        watch: Called after every step with (state before, state after, client, observations so
            far); returns the observations including this step, and fails if something is wrong.
        seen: The observations before the first step.
    """
    first = begin(clients, start)
    known, waiting = {(first.key, seen)}, [(first, seen)]
    while waiting:
        before, seen = waiting.pop()
        for index in running(before):
            after = step(before, clients, index)
            then = watch(before, after, index, seen)
            if (after.key, then) not in known:
                known.add((after.key, then))
                waiting.append((after, then))
    return len(known)


def running(state: State) -> list[int]:
    """Return the clients that have not ended."""
    return [index for index, has_ended in enumerate(state.has_ended) if not has_ended]


def _with(values: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    return (*values[:index], value, *values[index + 1 :])
