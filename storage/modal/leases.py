"""Leases in a `modal.Dict`, which can create a key atomically but has no compare-and-swap.

A lease is a chain of generations. Each generation is one key that exactly one client creates, so
of all clients that saw the same newest generation only one can change the lease: two clients never
both hold the newest one, whatever the order of their calls. Only the expiry is written in place, by
the holder, and only while nobody else may take the lease yet.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from training.backends.modal.dict_port import SharedDict
from training.ports import Grant

LEASE_SECONDS = 20.0
# Longer than any call takes: a client that looked before a generation existed has finished before
# that generation is removed.
KEPT_SECONDS = 600.0
_SWEPT_AT_ONCE = 16
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One generation: its holder ("" for nobody), its expiry and its creation time."""

    holder: str
    attempt: int
    until: float
    since: float

    def keeps_out(self, holder: str, attempt: int, now: float) -> bool:
        is_anothers = self.holder not in ("", holder) and now < self.until
        return is_anothers or self.attempt > attempt

    def is_held_by(self, grant: Grant) -> bool:
        # An expired lease still belongs to its grant until somebody else takes it.
        return (self.holder, self.attempt) == (grant.holder, grant.attempt)


_NOBODY = _Entry(holder="", attempt=0, until=0.0, since=0.0)


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest generation of a lease, found by a search that began at `seen_at`."""

    name: str
    generation: int
    entry: _Entry
    seen_at: float
    hinted: int
    oldest: int


class ModalLeases:
    """Leases shared by all clients, whose clocks may differ by a tenth of `seconds`."""

    def __init__(
        self,
        entries: SharedDict,
        *,
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._entries = entries
        self._seconds = seconds
        self._clock = clock
        # Of two renewals in one process, a slow one must not shorten the later one's expiry.
        self._renewing = threading.Lock()

    def acquire(self, name: str, *, holder: str, attempt: int = 1) -> Grant | None:
        while True:
            newest = self._newest(name)
            if newest.entry.keeps_out(holder, attempt, newest.seen_at):
                return None
            if self._append(newest, holder, attempt):
                return Grant(name, holder, attempt)

    def renew(self, grant: Grant) -> bool:
        with self._renewing:
            while True:
                newest = self._newest(grant.name)
                if not newest.entry.is_held_by(grant):
                    return False
                if self._extend(newest) or self._append(newest, grant.holder, grant.attempt):
                    return True

    def release(self, grant: Grant) -> None:
        while True:
            newest = self._newest(grant.name)
            if not newest.entry.is_held_by(grant) or self._append(newest, "", grant.attempt):
                return

    def revoke(self, name: str, *, attempt: int) -> None:
        while True:
            newest = self._newest(name)
            entry = newest.entry
            if not entry.holder or entry.attempt > attempt:
                return
            # The attempt number is kept, so that an older attempt cannot take the lease again.
            if self._append(newest, "", entry.attempt):
                return

    def _newest(self, name: str) -> _Newest:
        """Find the newest generation; 0 if there is none.

        The clock is read first, so that a lease that looks expired really was when it was read.
        """
        seen_at = self._clock()
        hinted, oldest = _hint(self._entries.get(_hint_key(name)))
        generation = max(hinted, 1)
        entry = self._read(name, generation)
        if entry is None and hinted:
            # The hint is so old that its generation is gone, or nobody looked for 7 days.
            generation = max(self._generations(name), default=hinted)
            entry = self._read(name, generation)
        if entry is None:
            return _Newest(name, generation if hinted else 0, _NOBODY, seen_at, hinted, oldest)
        while (later := self._read(name, generation + 1)) is not None:
            generation, entry = generation + 1, later
        return _Newest(name, generation, entry, seen_at, hinted, oldest)

    def _extend(self, newest: _Newest) -> bool:
        """Extend a held generation in place; return False if that may be too late.

        A client that takes an expired lease has read it after the expiry. It sees every extension
        written before that, but may miss a later one; only a new generation then keeps it out.
        """
        safe_until = newest.entry.until - self._seconds / 10
        if newest.seen_at >= safe_until:
            return False
        longer = replace(newest.entry, until=newest.seen_at + self._seconds)
        self._entries.put(_key(newest.name, newest.generation), asdict(longer))
        return self._clock() < safe_until

    def _append(self, newest: _Newest, holder: str, attempt: int) -> bool:
        """Create the generation after `newest`; return False if somebody else may have done so."""
        generation, now = newest.generation + 1, newest.seen_at
        entry = _Entry(holder, attempt, until=now + self._seconds if holder else now, since=now)
        if not self._create(_key(newest.name, generation), asdict(entry)):
            return False
        if self._clock() - now >= KEPT_SECONDS:
            # If this process slept, the key may have existed before and been removed meanwhile.
            return False
        oldest = self._sweep(newest)
        self._entries.put(_hint_key(newest.name), {"newest": generation, "oldest": oldest})
        return True

    def _create(self, key: str, value: dict[str, object]) -> bool:
        # A first attempt may have created the key and lost its answer.
        return self._entries.put(key, value, skip_if_exists=True) or self._entries.get(key) == value

    def _sweep(self, newest: _Newest) -> int:
        """Remove generations superseded long ago; return the oldest that may be left."""
        oldest = newest.oldest
        if newest.hinted - oldest < _SWEPT_AT_ONCE:
            return oldest  # most leases end before there is anything to remove
        while oldest < min(newest.hinted, newest.oldest + _SWEPT_AT_ONCE):
            follower = self._read(newest.name, oldest + 1)
            if follower is not None and newest.seen_at - follower.since < KEPT_SECONDS:
                break
            self._entries.pop(_key(newest.name, oldest))
            oldest += 1
        return oldest

    def _generations(self, name: str) -> list[int]:
        keys = (key for key, _ in self._entries.items() if key.startswith("lease/"))
        found = (key.removeprefix("lease/").partition("/") for key in keys)
        return [int(number) for number, _, lease in found if lease == name and number.isdecimal()]

    def _read(self, name: str, generation: int) -> _Entry | None:
        value = self._entries.get(_key(name, generation))
        if value is None:
            return None
        match value:
            case {
                "holder": str(holder),
                "attempt": int(attempt),
                "until": float(until),
                "since": float(since),
            }:
                return _Entry(holder, attempt, until, since)
            case _:
                # An unreadable lease has no holder; the former one learns that when it renews.
                logger.warning("generation %d of the lease %s cannot be read", generation, name)
                return _NOBODY


def _key(name: str, generation: int) -> str:
    return f"lease/{generation}/{name}"


def _hint_key(name: str) -> str:
    return f"lease/newest/{name}"


def _hint(value: object) -> tuple[int, int]:
    """Return a generation that once was the newest, and the oldest that may still exist."""
    match value:
        case {"newest": int(newest), "oldest": int(oldest)}:
            return newest, oldest
        case _:
            return 0, 1
