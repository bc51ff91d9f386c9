"""One call of a stage in a container of Modal: who may end it, and how it ends in time."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from training.ports import Call
from training.resources import SOFT_DEADLINE_SECONDS
from training.run import StageStatus

logger = logging.getLogger(__name__)

WATCH_SECONDS = 2.0
# Modal kills a container 30 s after it has asked it to end.
GRACE_SECONDS = 27.0
_LOOK_SECONDS = 0.2


class CallRegister(Protocol):
    """What the backend knows of a call that has started."""

    def register(self, name: str, call_id: str) -> bool:
        """Return whether this function call is the one that does the call's work."""
        ...

    def stop_requested(self, name: str) -> bool:
        """Return whether the call was asked to end."""
        ...


def run_call(
    call: Call,
    function_call: str,
    register: CallRegister,
    work: Callable[[threading.Event], StageStatus | None],
) -> str:
    """Do a call's work unless another function call does it, and return how it ended.

    The work runs in a thread of its own: what Modal raises in the main thread to preempt or cancel
    it then interrupts nothing in the middle, but asks the work to save its state and end.

    Args:
        call: What is to be done.
        function_call: Modal's own id of this call of the Function.
        register: Tells which function call does the work, and whether it is to end.
        work: Runs the stage until it is done, or until the event is set.
    """
    if not register.register(call.name, function_call):
        logger.warning("run %s: %s is done by another call", call.run, call.key)
        return "in other hands"
    stopping = threading.Event()
    outcome: list[StageStatus | BaseException | None] = []

    def do() -> None:
        try:
            outcome.append(work(stopping))
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            outcome.append(error)

    # Not waited for by the interpreter: a work that does not end dies with its container.
    thread = threading.Thread(target=do, name=f"stage {call.key}", daemon=True)
    thread.start()
    try:
        _wait(thread, call, register, stopping)
    finally:
        # Preempted, cancelled or over: the work gets the time that Modal leaves to end well.
        stopping.set()
        thread.join(GRACE_SECONDS)
    result = outcome[0] if outcome else None
    if isinstance(result, BaseException):
        raise result
    return str(result or "nothing to do")


def _wait(
    thread: threading.Thread, call: Call, register: CallRegister, stopping: threading.Event
) -> None:
    started = looked = time.monotonic()
    while thread.is_alive():
        thread.join(_LOOK_SECONDS)
        now = time.monotonic()
        if now - started >= SOFT_DEADLINE_SECONDS and not stopping.is_set():
            logger.warning("run %s: %s saves its state for another attempt", call.run, call.key)
            stopping.set()
        if now - looked >= WATCH_SECONDS:
            looked = now
            if not stopping.is_set() and register.stop_requested(call.name):
                logger.info("run %s: %s was asked to stop", call.run, call.key)
                stopping.set()
