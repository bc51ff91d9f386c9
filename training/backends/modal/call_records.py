"""Records of calls on Modal, in two Dicts that the bot and all stages share.

`calls` holds each call (`call/`), the spawned function that works on it (`spawned/`) and when it
was asked to stop (`stop/`), until 7 days after the last access. `line` is the queue: only the GPU
calls that wait or run, so that finding them does not require reading all others.
"""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from training.backends.modal.dict_port import SharedDict
from training.ports import Call

logger = logging.getLogger(__name__)
# In place of a function id: no function will ever work on this call.
NEVER = "never"
_WANTED = "pump/wanted"


@dataclass(frozen=True, slots=True)
class Placement:
    """The deployed function that runs a call, and the GPU if it is not the function's default."""

    function: str
    gpu: str | None = None


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A call and where it runs."""

    call: Call
    placement: Placement


@dataclass(frozen=True, slots=True)
class InLine:
    """A GPU call in the queue, waiting or started."""

    name: str
    since: float
    is_started: bool = False


_PLAIN = TypeAdapter(dict[str, object])
_CALL = TypeAdapter(Call)
_PLACEMENT = TypeAdapter(Placement)
_IN_LINE = TypeAdapter(InLine)


def to_plain(call: Call) -> dict[str, object]:
    """Return a call as plain JSON, which every version of this project can read."""
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
    """Return the call that `to_plain` encoded; `ValueError` if it is malformed."""
    key = {"stage": values.get("stage"), "expert": values.get("expert")}
    return _CALL.validate_python({**values, "key": key})


class CallRecords:
    """The two Dicts; every change is one atomic operation, so any process may die in between."""

    def __init__(self, calls: SharedDict, line: SharedDict) -> None:
        self._calls, self._line = calls, line

    def add(self, call: Call, placement: Placement) -> None:
        """Record a call, unless it is recorded already."""
        value = {**to_plain(call), "placement": asdict(placement)}
        self._calls.put(f"call/{call.name}", value, skip_if_exists=True)

    def find(self, name: str) -> PlacedCall | None:
        """Return a call, None if it is unknown or recorded in a format of another version."""
        value = self._calls.get(f"call/{name}")
        if value is None:
            return None
        try:
            return _placed_call(value)
        except ValueError:
            logger.warning("the record of %s cannot be read", name, exc_info=True)
            return None

    def spawned(self, name: str) -> str | None:
        """Return the id of the function that works on a call, None if there is none yet."""
        call_id = self._calls.get(f"spawned/{name}")
        return None if call_id is None else str(call_id)

    def register(self, name: str, call_id: str) -> bool:
        """Register a spawned function as the one that works on a call; False if another does.

        Both the spawning process and the function itself register it, the function before it does
        anything. So it works even if the spawning process died, and of two functions only one does.
        """
        key = f"spawned/{name}"
        if self._calls.put(key, call_id, skip_if_exists=True):
            return True
        return self._calls.get(key) == call_id

    def ask_to_stop(self, name: str, now: float) -> float:
        """Request that a call stops; return the time of the first request."""
        key = f"stop/{name}"
        if self._calls.put(key, now, skip_if_exists=True):
            return now
        asked_at = self._calls.get(key)
        return asked_at if isinstance(asked_at, float) else now

    def stop_requested(self, name: str) -> bool:
        return self._calls.contains(f"stop/{name}")

    def enter(self, name: str, now: float) -> None:
        """Append a GPU call to the queue, unless it is in it."""
        self._line.put(name, {"since": now, "is_started": False}, skip_if_exists=True)

    def mark_started(self, entry: InLine) -> None:
        self._line.put(entry.name, {"since": entry.since, "is_started": True})

    def leave(self, name: str) -> None:
        """Remove a call from the queue, if it is in it."""
        self._line.pop(name)

    def line(self) -> list[InLine]:
        """Return the GPU calls that wait or run, oldest first."""
        found = [_in_line(name, value) for name, value in self._line.items()]
        return sorted(found, key=lambda entry: (entry.since, entry.name))

    def want_pump(self) -> None:
        """Ask the current holder of the queue to scan it again."""
        self._calls.put(_WANTED, uuid.uuid4().hex)

    def wanted(self) -> object:
        """Return a value that changes with every `want_pump`."""
        return self._calls.get(_WANTED)


def _placed_call(value: object) -> PlacedCall:
    values = _PLAIN.validate_python(value)
    placement = _PLACEMENT.validate_python(values.get("placement"))
    return PlacedCall(from_plain(values), placement)


def _in_line(name: str, value: object) -> InLine:
    return _IN_LINE.validate_python({**_PLAIN.validate_python(value), "name": name})
