"""Records of calls on Modal, in two Dicts that the bot and all stages share.

`calls` holds three entries per call: the call itself (`call/`), the id of the spawned function that
works on it (`spawned/`), and the time at which it was asked to stop (`stop/`). Modal deletes an
entry 7 days after its last access. If the call is still waiting then, `advance` finds it in the
run's folder and submits it again. `line` is the queue. It holds only the GPU calls that wait or
run, so that listing them does not read all calls.
"""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from training.backends.modal.dict_port import SharedDict
from training.ports import Call

logger = logging.getLogger(__name__)
# To cancel a call, `NEVER` is registered in place of a function's id, so that no function can
# register.
NEVER = "never"
_WANTED, _OBSTACLE = "pump/wanted", "obstacle"


@dataclass(frozen=True, slots=True)
class Placement:
    """The deployed function that runs a call.

    Attributes:
        gpu: The GPU to request; None for the function's own.
        memory_gib: The main memory to request, in GiB; needs `gpu`. None for the function's own.
    """

    function: str
    gpu: str | None = None
    memory_gib: int | None = None


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A call and the function that runs it."""

    call: Call
    placement: Placement


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A GPU call in the queue, waiting or started."""

    name: str
    since: float
    is_started: bool = False


_PLAIN = TypeAdapter(dict[str, object])
_CALL = TypeAdapter(Call)
_PLACEMENT = TypeAdapter(Placement)
_QUEUE_ENTRY = TypeAdapter(QueueEntry)


def to_plain(call: Call) -> dict[str, object]:
    """Return a call as JSON values; every version of this project must be able to read them."""
    return {
        "guild": call.guild,
        "run": call.run,
        "stage": call.key.stage,
        "expert": call.key.expert,
        "attempt": call.attempt,
        "device": call.device,
        "gpu": call.gpu,
    }


def from_plain(values: Mapping[str, object]) -> Call:
    """Return the call that `to_plain` encoded; raise `ValueError` if it is malformed."""
    key = {"stage": values.get("stage"), "expert": values.get("expert")}
    return _CALL.validate_python({**values, "key": key})


class CallRecords:
    """The Dicts of calls and of the queue; each change is atomic, even if the process dies."""

    def __init__(self, calls: SharedDict, queue: SharedDict) -> None:
        self._calls, self._queue = calls, queue

    def add(self, call: Call, placement: Placement) -> None:
        """Record a call, unless it is recorded already."""
        value = {**to_plain(call), "placement": asdict(placement)}
        self._calls.put(f"call/{call.name}", value, skip_if_exists=True)

    def find(self, name: str) -> PlacedCall | None:
        """Return a call; None if it is unknown, or stored in the format of another version."""
        value = self._calls.get(f"call/{name}")
        if value is None:
            return None
        try:
            return _placed_call(value)
        except ValueError:
            logger.warning("the record of %s cannot be read", name, exc_info=True)
            return None

    def spawned(self, name: str) -> str | None:
        """Return the id of the function that works on a call; None if there is none yet."""
        call_id = self._calls.get(f"spawned/{name}")
        return None if call_id is None else str(call_id)

    def register(self, name: str, call_id: str) -> bool:
        """Register a spawned function for a call; return False if another function is registered.

        Two callers register the same function: the process that spawned it, and the function itself
        before it starts to work. So the call runs even if that process died, and only one of two
        spawned functions works on it.
        """
        key = f"spawned/{name}"
        if self._calls.put(key, call_id, skip_if_exists=True):
            return True
        return self._calls.get(key) == call_id

    def ask_to_stop(self, name: str, now: float) -> float:
        """Ask a call to stop; return the time at which it was first asked."""
        key = f"stop/{name}"
        if self._calls.put(key, now, skip_if_exists=True):
            return now
        asked_at = self._calls.get(key)
        return asked_at if isinstance(asked_at, float) else now

    def stop_requested(self, name: str) -> bool:
        return self._calls.contains(f"stop/{name}")

    def enter(self, name: str, now: float) -> None:
        """Add a GPU call to the queue, unless it is there already."""
        self._queue.put(name, {"since": now, "is_started": False}, skip_if_exists=True)

    def mark_started(self, entry: QueueEntry) -> None:
        self._queue.put(entry.name, {"since": entry.since, "is_started": True})

    def keep(self, name: str) -> None:
        """Read a queue entry so that it does not expire; listing it may not count as an access."""
        self._queue.get(name)

    def leave(self, name: str) -> None:
        self._queue.pop(name)

    def queue(self) -> list[QueueEntry]:
        """Return the GPU calls that wait or run, oldest first."""
        found = [_queue_entry(name, value) for name, value in self._queue.items()]
        return sorted(found, key=lambda entry: (entry.since, entry.name))

    def set_obstacle(self, text: str) -> None:
        """Record why nothing can be started at the moment."""
        self._calls.put(_OBSTACLE, text)

    def clear_obstacle(self) -> None:
        """Record that calls can be started again. If no obstacle is recorded, write nothing."""
        if self._calls.get(_OBSTACLE) is not None:
            self._calls.pop(_OBSTACLE)

    def obstacle(self) -> str | None:
        """Return why nothing can be started at the moment; None if calls can be started."""
        text = self._calls.get(_OBSTACLE)
        return None if text is None else str(text)

    def want_pump(self) -> None:
        """Ask the process that is pumping the queue to go through it again."""
        self._calls.put(_WANTED, uuid.uuid4().hex)

    def wanted(self) -> object:
        """Return a value that changes with every `want_pump`."""
        return self._calls.get(_WANTED)


def _placed_call(value: object) -> PlacedCall:
    values = _PLAIN.validate_python(value)
    placement = _PLACEMENT.validate_python(values.get("placement"))
    return PlacedCall(from_plain(values), placement)


def _queue_entry(name: str, value: object) -> QueueEntry:
    return _QUEUE_ENTRY.validate_python({**_PLAIN.validate_python(value), "name": name})
