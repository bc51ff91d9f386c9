"""Leases in a `modal.Dict`, which can create a key atomically but has no compare-and-swap.

A lease is a chain of numbered generations. Each generation is a key of the Dict, which only one
client can create. So of all clients that see the same newest generation, only one can add the next,
and two clients never hold the lease at once. Only the expiry is changed in place: by the holder,
and only while nobody else may take the lease yet.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from storage.expiry import SKEW, is_running
from training.backends.modal.dict_port import SharedDict
from training.ports import Grant

LEASE_SECONDS = 20.0
# Keep old generations for longer than any call can take. A slow client may try to create a
# generation that another client has already created. The attempt fails only if that generation's
# key still exists.
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

    def is_held_by(self, grant: Grant) -> bool:
        # An expired lease still belongs to its last holder until somebody else takes it.
        return (self.holder, self.attempt) == (grant.holder, grant.attempt)


_NOBODY = _Entry(holder="", attempt=0, until=0.0, since=0.0)


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest generation of a lease, found by a search that lasted from `seen_at` to `read_at`.

    Attributes:
        hinted: The generation at which the search began; 0 without a hint.
        oldest: The oldest generation that may not be deleted yet.
    """

    name: str
    generation: int
    entry: _Entry
    seen_at: float
    read_at: float
    hinted: int
    oldest: int

    def keeps_out(self, holder: str, attempt: int, seconds: float) -> bool:
        is_anothers = self.entry.holder not in ("", holder) and self.is_running(seconds)
        return is_anothers or self.entry.attempt > attempt

    def is_running(self, seconds: float) -> bool:
        return is_running(self.entry.until, seconds, before=self.seen_at, after=self.read_at)


class ModalLeases:
    """Leases shared by all clients; the clients' clocks may differ by a tenth of `seconds`."""

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
        # Renew one lease at a time: two concurrent renewals of one lease could write their expiries
        # in the wrong order.
        self._renewing = threading.Lock()

    def acquire(self, name: str, *, holder: str, attempt: int = 1) -> Grant | None:
        while True:
            newest = self._newest(name)
            if newest.keeps_out(holder, attempt, self._seconds):
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
            # Keep the attempt number, so that an older attempt cannot take the lease again.
            if self._append(newest, "", entry.attempt):
                return

    def _newest(self, name: str) -> _Newest:
        """Return the newest generation; if none exists, return one that nobody holds.

        `seen_at` is a time just before the lease is read: if the lease had expired by then, it had
        also expired when it was read.
        """
        seen_at = self._clock()
        hinted, oldest = _hint(self._entries.get(_hint_key(name)))
        generation = max(hinted, 1)
        entry = self._read(name, generation)
        if entry is None and hinted:
            # The hint names a deleted generation: the hint is old, or nobody used the lease for
            # 7 days.
            generation = max(self._generations(name), default=hinted)
            entry = self._read(name, generation)
        if entry is None:
            generation, entry = generation if hinted else 0, _NOBODY
        else:
            while (later := self._read(name, generation + 1)) is not None:
                generation, entry = generation + 1, later
        return _Newest(
            name=name,
            generation=generation,
            entry=entry,
            seen_at=seen_at,
            read_at=self._clock(),
            hinted=hinted,
            oldest=oldest,
        )

    def _extend(self, newest: _Newest) -> bool:
        """Extend the expiry of a held lease in place; return False if that may be too late.

        A client that takes over a lease reads the entry after it has expired. So the client sees
        every extension written before the expiry, but may miss one written later. In that case, the
        holder must add a new generation instead: the holder or the client can create it, but not
        both.
        """
        safe_until = newest.entry.until - self._seconds * SKEW
        if newest.seen_at >= safe_until or not newest.is_running(self._seconds):
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
            # This process was suspended for so long that others may have created and deleted this
            # key meanwhile.
            return False
        oldest = self._sweep(newest)
        self._entries.put(_hint_key(newest.name), {"newest": generation, "oldest": oldest})
        return True

    def _create(self, key: str, value: dict[str, object]) -> bool:
        # If Modal's reply is lost, the client repeats the request and finds its own key stored.
        return self._entries.put(key, value, skip_if_exists=True) or self._entries.get(key) == value

    def _sweep(self, newest: _Newest) -> int:
        """Delete generations that were replaced long ago; return the oldest that may exist."""
        oldest = newest.oldest
        if newest.hinted - oldest < _SWEPT_AT_ONCE:
            return oldest  # the usual case: most leases end before there is anything to delete
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
                # Treat an unreadable lease as free; the holder's next renewal fails.
                logger.warning("generation %d of the lease %s cannot be read", generation, name)
                return _NOBODY


def _key(name: str, generation: int) -> str:
    return f"lease/{generation}/{name}"


def _hint_key(name: str) -> str:
    return f"lease/newest/{name}"


def _hint(value: object) -> tuple[int, int]:
    """Return the newest and the oldest generation that a hint names; (0, 1) if it is unreadable.

    Newer generations may have been added since the hint was written.
    """
    match value:
        case {"newest": int(newest), "oldest": int(oldest)}:
            return newest, oldest
        case _:
            return 0, 1
