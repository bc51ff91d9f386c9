"""What is known of the calls on Modal, in two Dicts that the bot and all stages share.

Of each call, `calls` has what it is (`call/`), which spawned function works on it (`spawned/`) and
when it was asked to stop (`stop/`), until 7 days after somebody last looked. `line` has the GPU
calls that wait or work, so that finding those does not mean reading all others.
"""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from training.backends.modal.dict_port import SharedDict
from training.ports import Call

logger = logging.getLogger(__name__)
# Stands for the spawned function of a call that none will ever work on.
NEVER = "never"
_WANTED = "pump/wanted"


@dataclass(frozen=True, slots=True)
class Placement:
    """The deployed function that runs a call, and the GPU where it is not the function's own."""

    function: str
    gpu: str | None = None


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A call and where it is to run."""

    call: Call
    placement: Placement


@dataclass(frozen=True, slots=True)
class InLine:
    """A GPU call that waits for its turn or has been started."""

    name: str
    since: float
    is_started: bool = False


_PLAIN = TypeAdapter(dict[str, object])
_CALL = TypeAdapter(Call)
_PLACEMENT = TypeAdapter(Placement)
_IN_LINE = TypeAdapter(InLine)


def to_plain(call: Call) -> dict[str, object]:
    """Return a call as a function on Modal is given it: readable by any version of this project."""
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
    """Return the call that `to_plain` was given.

    Raises:
        ValueError: Something is missing or is of another kind.
    """
    key = {"stage": values.get("stage"), "expert": values.get("expert")}
    return _CALL.validate_python({**values, "key": key})


class CallRecords:
    """The two Dicts; every change is one atomic operation, so that anybody may stop in between."""

    def __init__(self, calls: SharedDict, line: SharedDict) -> None:
        self._calls, self._line = calls, line

    def add(self, call: Call, placement: Placement) -> None:
        """Note a call and where it is to run, unless it is known."""
        value = {**to_plain(call), "placement": asdict(placement)}
        self._calls.put(f"call/{call.name}", value, skip_if_exists=True)

    def find(self, name: str) -> PlacedCall | None:
        """Return a call, None when it is not known or another version noted it in its own way."""
        value = self._calls.get(f"call/{name}")
        if value is None:
            return None
        try:
            return _placed_call(value)
        except ValueError:
            logger.warning("what is noted of %s cannot be read", name, exc_info=True)
            return None

    def spawned(self, name: str) -> str | None:
        """Return the id of the spawned function that works on a call, None before there is one."""
        call_id = self._calls.get(f"spawned/{name}")
        return None if call_id is None else str(call_id)

    def register(self, name: str, call_id: str) -> bool:
        """Have a spawned function work on a call; return False if another one does.

        Both who spawned it and the function itself ask, the latter before it does anything: so one
        that nobody had the time to note works all the same, and of two only one.
        """
        key = f"spawned/{name}"
        if self._calls.put(key, call_id, skip_if_exists=True):
            return True
        return self._calls.get(key) == call_id

    def ask_to_stop(self, name: str, now: float) -> float:
        """Ask the function that works on a call to stop; return when it was first asked."""
        key = f"stop/{name}"
        if self._calls.put(key, now, skip_if_exists=True):
            return now
        asked_at = self._calls.get(key)
        return asked_at if isinstance(asked_at, float) else now

    def stop_requested(self, name: str) -> bool:
        """Return whether the function that works on a call was asked to stop."""
        return self._calls.contains(f"stop/{name}")

    def enter(self, name: str, now: float) -> None:
        """Put a GPU call at the end of the line, unless it stands there."""
        self._line.put(name, {"since": now, "is_started": False}, skip_if_exists=True)

    def mark_started(self, entry: InLine) -> None:
        """Note in the line that a call was started."""
        self._line.put(entry.name, {"since": entry.since, "is_started": True})

    def leave(self, name: str) -> None:
        """Take a call out of the line; one that is not in it is fine."""
        self._line.pop(name)

    def line(self) -> list[InLine]:
        """Return the GPU calls that wait or work, in the order they came."""
        found = [_in_line(name, value) for name, value in self._line.items()]
        return sorted(found, key=lambda entry: (entry.since, entry.name))

    def want_pump(self) -> None:
        """Have whoever looks through the line just now look through it once more."""
        self._calls.put(_WANTED, uuid.uuid4().hex)

    def wanted(self) -> object:
        """Return what changes whenever somebody wants the line looked through."""
        return self._calls.get(_WANTED)


def _placed_call(value: object) -> PlacedCall:
    values = _PLAIN.validate_python(value)
    placement = _PLACEMENT.validate_python(values.get("placement"))
    return PlacedCall(from_plain(values), placement)


def _in_line(name: str, value: object) -> InLine:
    return _IN_LINE.validate_python({**_PLAIN.validate_python(value), "name": name})
